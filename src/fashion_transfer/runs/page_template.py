"""The page around a table of runs: its style, and the few lines that sort and filter."""

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #ddd; --ground: #fff; --head: #f3f3f3; --bad: #b35806; }
@media (prefers-color-scheme: dark) {
  :root { --line: #444; --ground: #181818; --head: #262626; --bad: #f0a050; }
}
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.2rem; background: var(--ground); }
h1 { font-size: 1.25rem; margin: 0 0 .2rem; }
#filter { font: inherit; padding: .35rem .6rem; width: min(28rem, 90%);
  margin: .6rem .6rem .6rem 0; }
.runs { border-collapse: collapse; }
.runs td, .runs th { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; max-width: 18rem; }
.runs > thead th { position: sticky; top: 0; background: var(--head); cursor: pointer;
  white-space: nowrap; }
.runs > thead th[aria-sort=ascending]::after { content: " ▲"; }
.runs > thead th[aria-sort=descending]::after { content: " ▼"; }
.run > tr:first-child { cursor: pointer; }
.run > tr:first-child:hover { background: var(--head); }
.runs td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.runs .more > td { max-width: none; background: var(--head); }
.more .all { position: sticky; left: 1.2rem; width: calc(100vw - 5rem); }
.more code { background: var(--ground); padding: .2rem .4rem; overflow-wrap: anywhere; }
.more pre { font-size: 12px; columns: 24rem; margin: .4rem 0; white-space: pre-wrap; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; } figcaption { font-size: 12px; }
img { max-width: 24rem; max-height: 20rem; display: block; background: #fff; cursor: zoom-in; }
img.large { position: fixed; inset: 0; margin: auto; max-width: 100vw; max-height: none;
  width: auto; height: 96vh; object-fit: contain; background: none; z-index: 9; cursor: zoom-out; }
.error { color: var(--bad); }
</style>
</head>
<body>
<h1>$title</h1>
<div>$note</div>
<input id="filter" type="search" placeholder="Filter: words, all of which a row must have"
 aria-label="Filter"><span id="count" aria-live="polite"></span>
<table class="runs"><thead><tr>$headings</tr></thead>
$rows
</table>
<script>
"use strict";
const table = document.querySelector(".runs");
const runs = [...table.tBodies];
const text = new Map(runs.map(run => [run, [...run.rows[0].cells, ...run.querySelectorAll("code")]
  .map(part => part.textContent).join(" ").toLowerCase()]));
const count = document.querySelector("#count");
const filter = document.querySelector("#filter");
function show() {
  const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const run of runs) run.hidden = !words.every(word => text.get(run).includes(word));
  const shown = runs.filter(run => !run.hidden).length;
  count.textContent = shown + " of " + runs.length + " rows";
}
function sort(heading) {
  const column = heading.cellIndex, number = heading.dataset.number === "1";
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = run => run.rows[0].cells[column].dataset.key;
  const order = new Intl.Collator(undefined, {numeric: true}).compare;
  runs.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // without a value: last
    return (number ? x - y : order(x, y)) * (ascending ? 1 : -1);
  });
  table.append(...runs);
}
async function copy(button) {
  const code = button.previousElementSibling;
  try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; }
  catch { getSelection().selectAllChildren(code); button.textContent = "selected"; }
}
table.addEventListener("click", event => {
  const target = event.target, row = target.closest("tr");
  if (target.matches(".runs > thead th")) sort(target);
  else if (target.matches("button")) copy(target);
  else if (target.matches("img")) target.classList.toggle("large");
  else if (row && row.matches(".run > tr:first-child") && !String(getSelection()))
    row.nextElementSibling.hidden = !row.nextElementSibling.hidden;
});
table.addEventListener("keydown", event => {
  if (event.key === "Enter" && event.target.matches("th")) sort(event.target);
});
filter.addEventListener("input", show);
show();
</script>
</body>
</html>
""")
