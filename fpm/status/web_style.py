"""The style sheet and the one script of the HTML pages. Nothing comes from another host, nor from another file.

The script only refreshes: it fetches the page anew and puts its <main> in the place of the old one, so that the reader
stays where he is and what he has opened stays open. Without JavaScript a <meta> element reloads the page.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--line:#e2e5ea;--text:#1b1f27;--soft:#626b79;--accent:#2a6fdb;
--busy:#2a6fdb;--idle:#cfdcf3;--queue:#d4381f;--ok:#137a48;--okbg:#dff3e8;--warn:#8a5a00;--warnbg:#fdf0d2;--bad:#b3261e;
--badbg:#fbe3e0;--mutebg:#e9ecf1}
@media (prefers-color-scheme:dark){:root{--bg:#111419;--card:#191d24;--line:#2b313b;--text:#e4e8ee;--soft:#97a1b0;
--accent:#7aabf7;--busy:#5b93ec;--idle:#2c3f5f;--queue:#ff7a62;--ok:#6fd6a1;--okbg:#15342588;--warn:#f0c265;
--warnbg:#40320f88;--bad:#ff9087;--badbg:#46191688;--mutebg:#262c36}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{display:flex;flex-wrap:wrap;align-items:center;gap:4px 12px;padding-top:18px;padding-bottom:10px}
header h1{font-size:20px;margin:0;font-weight:650;overflow-wrap:anywhere}
header svg{width:22px;height:22px;flex:none}
header .facts{color:var(--soft);margin-left:auto;font-size:13px}
footer{color:var(--soft);font-size:13px;padding-top:14px;padding-bottom:28px;overflow-wrap:anywhere}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
h2{font-size:15px;margin:26px 0 8px;font-weight:650}
.soft{color:var(--soft)}.num{text-align:right;white-space:nowrap}
code,pre,.mono{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:13px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;margin:6px 0 0;padding:0}
.tile{padding:11px 14px 10px}
.tile dt{color:var(--soft);font-size:12.5px}
.tile dd{margin:0;font-size:22px;font-weight:620;letter-spacing:-.01em}
.tile dd small{font-size:13px;font-weight:400;color:var(--soft);letter-spacing:0}
.tile.bad dd{color:var(--bad)}.tile.warn dd{color:var(--warn)}
.badge{display:inline-block;border-radius:10px;padding:1px 9px;font-size:12.5px;font-weight:550;white-space:nowrap;
background:var(--mutebg);color:var(--soft)}
.badge.ok{background:var(--okbg);color:var(--ok)}.badge.warn{background:var(--warnbg);color:var(--warn)}
.badge.bad{background:var(--badbg);color:var(--bad)}
.notice{padding:11px 14px;margin:10px 0;border-radius:10px;background:var(--badbg);color:var(--bad);
overflow-wrap:anywhere}
.notice.warn{background:var(--warnbg);color:var(--warn)}
.notice a{color:inherit;font-weight:600;text-decoration:underline}
.notice pre{color:var(--text);margin:8px 0 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;max-height:26em;overflow:auto}
summary{cursor:pointer}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th{font-size:12.5px;font-weight:500;color:var(--soft);text-align:left;white-space:nowrap}
th,td{padding:8px 12px;border-bottom:1px solid var(--line);vertical-align:middle}
tbody tr:last-child td{border-bottom:0}
td.name{min-width:130px;max-width:270px;overflow-wrap:anywhere}
td.name a{font-weight:620}
td.name .soft{display:block;font-size:12.5px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
td.request{width:40%;min-width:230px;overflow-wrap:anywhere}
td.hot{color:var(--bad);font-weight:600}td.warm{color:var(--warn);font-weight:600}
svg{display:block}
.meter{width:100%;min-width:90px;height:7px;margin-top:4px}
.tile .meter{min-width:0}
.meter .rest{fill:var(--mutebg)}.meter .idle{fill:var(--idle)}
.meter .busy{fill:var(--busy)}.meter .full{fill:var(--queue)}
.chart{width:100%}
.chart path{vector-effect:non-scaling-stroke}
.chart .grid{stroke:var(--line);fill:none;stroke-width:1}
.chart .idle{fill:var(--idle)}.chart .busy{fill:var(--busy)}
.chart .queue{fill:none;stroke:var(--queue);stroke-width:2}
.chart .limit{fill:none;stroke:var(--soft);stroke-width:1;stroke-dasharray:5 4}
td.spark{width:160px;min-width:90px}td.spark .grid{display:none}
.history{padding:12px 14px 10px}
.history .axis{display:flex;justify-content:space-between;gap:10px;color:var(--soft);font-size:12.5px}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;color:var(--soft);font-size:12.5px;margin-top:4px}
.legend span::before{content:"";display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px;
vertical-align:-1px;background:var(--c)}
.legend .busy{--c:var(--busy)}.legend .idle{--c:var(--idle)}.legend .queue{--c:var(--queue)}
.legend .limit{--c:var(--soft)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:0 30px;margin:0;padding:6px 14px}
dl.facts div{display:flex;justify-content:space-between;gap:14px;padding:5px 0;border-bottom:1px solid var(--line)}
dl.facts dt{color:var(--soft);white-space:nowrap}dl.facts dd{margin:0;text-align:right;overflow-wrap:anywhere}
.empty{padding:12px 14px;color:var(--soft)}
.stale main{opacity:.45}
.stale::before{content:"no answer, trying again";position:fixed;left:0;right:0;top:0;text-align:center;padding:4px;
background:var(--bad);color:var(--card);font-size:13px;z-index:1}
@media (max-width:720px){
header,main,footer{padding-left:12px;padding-right:12px}
header .facts{margin-left:0;width:100%}
.tiles{grid-template-columns:repeat(auto-fit,minmax(100px,1fr));gap:8px}
.tile{padding:8px 10px}.tile dd{font-size:18px}
}
@media (max-width:1100px){
.rows thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.rows,.rows tbody{display:block}
.rows tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(92px,1fr));gap:5px 12px;padding:10px 12px;
border-bottom:1px solid var(--line)}
.rows tr:last-child{border-bottom:0}
.rows td{display:block;padding:0;border:0;width:auto;min-width:0;max-width:none;text-align:left}
.rows td::before{content:attr(data-l);display:block;color:var(--soft);font-size:12px;font-weight:400}
.rows td.name,.rows td.request,.rows td.wide{grid-column:1/-1}
.rows td.name::before{display:none}
.rows td.state{grid-column:span 2}.rows td.none{display:none}
.rows .badge,.rows td.num{white-space:normal;overflow-wrap:anywhere}
}
"""

SCRIPT = """
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
"""
