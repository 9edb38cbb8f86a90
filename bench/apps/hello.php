<?php
// The application of PHP-FPM: what hello.py answers, in PHP.
if (($_SERVER['DOCUMENT_URI'] ?? '') === '/slow') {
    usleep(500000);
}
if (($_SERVER['QUERY_STRING'] ?? '') === 'json') {
    $items = [];
    for ($number = 0; $number < 109; $number++) {
        $items[] = ['id' => $number, 'name' => "item number $number", 'price' => $number * 1.25, 'tags' => ['a', 'b', 'c'], 'stock' => true];
    }
    $body = json_encode($items);
    header('Content-Type: application/json');
} else {
    $body = "Hello, world\n";
    header('Content-Type: text/plain');
}
header('Content-Length: ' . strlen($body));
echo $body;
