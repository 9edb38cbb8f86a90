(function(){
function stale(yes){document.body.className=yes?"stale":""}
function refresh(){
if(document.hidden)return;
fetch(location.href,{cache:"no-store"}).then(function(answer){
if(!answer.ok)throw answer.status;
return answer.text()}).then(function(text){
var page=new DOMParser().parseFromString(text,"text/html"),main=page.querySelector("main");
document.querySelectorAll("details").forEach(function(old){
var same=old.id&&page.getElementById(old.id);if(same)same.open=old.open});
if(!window.getSelection().isCollapsed)return stale(false);
document.querySelector("main").replaceWith(main);
document.querySelector("header").replaceWith(page.querySelector("header"));
document.querySelector("link[rel=icon]").href=page.querySelector("link[rel=icon]").href;
document.title=page.title;stale(false)}).catch(function(){stale(true)})}
setInterval(refresh,Number(document.documentElement.dataset.refresh)*1000);
document.addEventListener("visibilitychange",refresh)
})()
