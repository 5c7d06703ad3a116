// The table of tickers. Only rows that can be seen are drawn; the others are when they come into
// sight, so that five hundred cost as much as forty.

import {duration, now, onNews, setText} from './live.js';

const [SYMBOL, LAST, TICK, CHANGE, SPARK, RATE, LAG, STATE, WHY, HELD, AT] = Array(11).keys();
const table = document.getElementById('tickers');
const tbody = table.tBodies[0];
const count = document.getElementById('count');
const nothing = document.getElementById('nothing');
const filter = document.getElementById('filter');
const chips = document.getElementById('states');
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const rows = new Map(); // symbol: {tr, cells, drawn, seen, parts}
let sort = {by: 'symbol', down: false};
let onlyState = '';
let unsorted = false;

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const row = rows.get(entry.target.dataset.symbol);
    if (!row) continue;
    row.seen = entry.isIntersecting;
    if (row.seen) draw(row, false);
  }
}, {rootMargin: '200px'});

function partsOf(tr) {
  const cell = (name) => tr.querySelector(`.c-${name}`);
  const state = cell('state');
  return {
    last: cell('last'), line: tr.querySelector('polyline'), change: tr.querySelector('.c-spark span'),
    rate: cell('rate'), lag: cell('lag'), age: cell('age'), held: cell('held'),
    badge: state.querySelector('.badge'), why: state.querySelector('.why'),
  };
}

const blank = document.createElement('template');
blank.innerHTML = '<tr><th scope="row" class="c-symbol"><a></a></th><td class="c-last num"></td>'
  + '<td class="c-spark"><svg viewBox="0 0 96 24" width="96" height="24" aria-hidden="true"><polyline points=""/></svg><span class="num"></span></td>'
  + '<td class="c-rate num"></td><td class="c-lag num"></td><td class="c-age num"></td><td class="c-held num"></td>'
  + '<td class="c-state"><div><span class="badge"></span><span class="why"></span></div></td></tr>';

function newRow(symbol) {
  const tr = blank.content.firstElementChild.cloneNode(true);
  tr.dataset.symbol = symbol;
  const link = tr.querySelector('a');
  link.textContent = symbol;
  link.href = `/ticker/${symbol.split('/').map(encodeURIComponent).join('/')}`;
  tbody.append(tr);
  unsorted = true;
  return adopt(tr, symbol);
}

function adopt(tr, symbol) {
  const row = {tr, cells: null, drawn: [], seen: false, parts: partsOf(tr)};
  rows.set(symbol, row);
  watcher.observe(tr);
  return row;
}

function draw(row, mayFlash) {
  const {cells, drawn, parts} = row;
  if (!cells) return;
  row.drawn = cells;
  if (cells[LAST] !== drawn[LAST] || cells[TICK] !== drawn[TICK]) {
    setText(parts.last, cells[LAST]);
    parts.last.className = `c-last num ${cells[TICK] > 0 ? 'up' : cells[TICK] < 0 ? 'down' : ''}`;
    if (mayFlash && drawn.length && cells[TICK] && !calm.matches) flash(parts.last, cells[TICK]);
  }
  if (cells[SPARK] !== drawn[SPARK]) parts.line.setAttribute('points', cells[SPARK]);
  setText(parts.change, cells[CHANGE]);
  setText(parts.rate, cells[RATE]);
  setText(parts.lag, cells[LAG]);
  setText(parts.held, String(cells[HELD]));
  drawAge(row);
  if (cells[STATE] !== drawn[STATE]) {
    setText(parts.badge, cells[STATE]);
    parts.badge.className = `badge s-${cells[STATE].toLowerCase().replace(/[^a-z]/g, '')}`;
  }
  if (cells[WHY] !== drawn[WHY]) {
    setText(parts.why, cells[WHY]);
    parts.why.title = cells[WHY];
  }
}

function flash(cell, tick) {
  const colour = getComputedStyle(cell).getPropertyValue(tick > 0 ? '--flash-up' : '--flash-down');
  cell.animate([{backgroundColor: colour}, {backgroundColor: 'transparent'}], {duration: 600, easing: 'ease-out'});
}

function drawAge(row) {
  const at = row.cells[AT];
  setText(row.parts.age, at === null ? '—' : duration(now() - at));
}

function shows(row, symbol) {
  const wanted = filter.value.trim().toUpperCase();
  if (wanted && !symbol.includes(wanted)) return false;
  return !onlyState || row.cells?.[STATE] === onlyState;
}

function applyFilter() {
  let shown = 0;
  for (const [symbol, row] of rows) {
    const hide = !shows(row, symbol);
    if (row.tr.hidden !== hide) row.tr.hidden = hide;
    shown += !hide;
  }
  setText(count, shown === rows.size ? String(rows.size) : `${shown} of ${rows.size}`);
  nothing.hidden = rows.size > 0;
}

const number = (text) => Number(String(text).replace(/[^0-9.eE+-]/g, '')) || 0;
const UNITS = {ms: 0.001, s: 1, min: 60, h: 3600};
const KEYS = {
  symbol: (c) => c[SYMBOL], state: (c) => c[STATE], last: (c) => number(c[LAST]), change: (c) => number(c[CHANGE]),
  rate: (c) => number(c[RATE]), lag: (c) => number(c[LAG]) * (UNITS[c[LAG].split(' ')[1]] ?? 0), age: (c) => -(c[AT] ?? 0), held: (c) => c[HELD],
};

function applySort() {
  const key = KEYS[sort.by];
  const ordered = [...rows.values()].filter((row) => row.cells).sort((a, b) => {
    const [x, y] = [key(a.cells), key(b.cells)];
    const order = x < y ? -1 : x > y ? 1 : a.cells[SYMBOL] < b.cells[SYMBOL] ? -1 : 1;
    return sort.down ? -order : order;
  });
  tbody.append(...ordered.map((row) => row.tr));
  unsorted = false;
}

function remove(symbol) {
  const row = rows.get(symbol);
  if (!row) return;
  watcher.unobserve(row.tr);
  row.tr.remove();
  rows.delete(symbol);
}

function take(news) {
  if (news.rows) {
    if (news.all) {
      const there = new Set(news.rows.map((cells) => cells[SYMBOL]));
      for (const symbol of [...rows.keys()]) if (!there.has(symbol)) remove(symbol);
    }
    for (const cells of news.rows) {
      const row = rows.get(cells[SYMBOL]) ?? newRow(cells[SYMBOL]);
      row.cells = cells;
      if (row.seen) draw(row, true);
    }
  }
  for (const symbol of news.gone ?? []) remove(symbol);
  if (unsorted) applySort();
  if (news.rows || news.gone) applyFilter();
  for (const chip of chips.querySelectorAll('button')) {
    chip.setAttribute('aria-pressed', String(chip.dataset.state === onlyState));
  }
}

for (const tr of tbody.rows) adopt(tr, tr.dataset.symbol);
onNews(take);
setInterval(() => {
  if (!document.hidden) for (const row of rows.values()) if (row.seen && row.cells) drawAge(row);
}, 1000);

filter.addEventListener('input', applyFilter);
chips.addEventListener('click', (event) => {
  const chip = event.target.closest('button');
  if (!chip) return;
  onlyState = onlyState === chip.dataset.state ? '' : chip.dataset.state;
  take({});
  applyFilter();
});
table.tHead.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const by = button.dataset.sort;
  const numeric = !['symbol', 'state'].includes(by);
  sort = sort.by === by ? {by, down: !sort.down} : {by, down: numeric && by !== 'age'};
  for (const th of table.tHead.rows[0].cells) th.removeAttribute('aria-sort');
  button.closest('th').setAttribute('aria-sort', sort.down ? 'descending' : 'ascending');
  applySort();
});
document.addEventListener('keydown', (event) => {
  if (event.key === '/' && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    filter.focus();
  }
});
