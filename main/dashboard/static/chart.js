// One ticker's chart: what its journal has, and then every new price; its orders marked on it, and
// where prices may be missing.

import {now, onNews} from './live.js';

const place = document.getElementById('chart');
const symbol = document.body.dataset.symbol;
const MOST = 20000;
const HEIGHT = 340;
const ENDED = ['fill', 'canceled', 'rejected', 'expired', 'replaced'];
let times = [];
let prices = [];
let marks = [];
let gaps = [];
let span = 300;
let plot = null;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const digits = () => (prices.length && prices[prices.length - 1] < 1 ? 5 : 2);

function drawGaps(u) {
  const {ctx} = u;
  const {left, top, width, height} = u.bbox;
  ctx.save();
  for (const [from, to, refilled] of gaps) {
    const x0 = Math.max(left, u.valToPos(from, 'x', true));
    const x1 = Math.min(left + width, u.valToPos(to, 'x', true));
    if (x1 < left || x0 > left + width) continue;
    ctx.fillStyle = colour(refilled ? '--gap' : '--gap-lost');
    ctx.fillRect(x0, top, Math.max(2, x1 - x0), height);
  }
  ctx.restore();
}

const SHAPES = {
  up: (c, r) => { c.moveTo(0, -r); c.lineTo(r, r * 0.8); c.lineTo(-r, r * 0.8); c.closePath(); },
  down: (c, r) => { c.moveTo(0, r); c.lineTo(r, -r * 0.8); c.lineTo(-r, -r * 0.8); c.closePath(); },
  cross: (c, r) => { c.moveTo(-r * 0.5, -r * 0.5); c.lineTo(r * 0.5, r * 0.5); c.moveTo(r * 0.5, -r * 0.5); c.lineTo(-r * 0.5, r * 0.5); },
};

// An order that still works is a line from where it was placed; what ended is a mark where it ended.
function drawMarks(u) {
  const {ctx} = u;
  const {left, top, width, height} = u.bbox;
  const r = 5 * devicePixelRatio;
  const ended = new Set(marks.filter((mark) => ENDED.includes(mark[2])).map((mark) => mark[5]));
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  for (const [at, price, event, side, , order] of marks) {
    if (event === 'new' && ended.has(order)) continue;
    const x = u.valToPos(at, 'x', true);
    const y = u.valToPos(price, 'y', true);
    if (event === 'new') drawOpen(ctx, Math.max(x, left), y, left + width, colour(side === 'sell' ? '--bad' : '--good'));
    else drawShape(ctx, x, y, r, event, side);
  }
  ctx.restore();
}

function drawOpen(ctx, x, y, end, tone) {
  ctx.save();
  ctx.strokeStyle = tone;
  ctx.globalAlpha = 0.75;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(end, y);
  ctx.stroke();
  ctx.restore();
}

function drawShape(ctx, x, y, r, event, side) {
  const fill = event === 'fill' || event === 'partial_fill';
  ctx.save();
  ctx.translate(x, y);
  ctx.beginPath();
  SHAPES[fill ? (side === 'sell' ? 'down' : 'up') : 'cross'](ctx, r);
  if (fill) {
    ctx.fillStyle = colour(side === 'sell' ? '--bad' : '--good');
    ctx.strokeStyle = colour('--card');
    ctx.lineWidth = 1.6 * devicePixelRatio;
    ctx.stroke();
    ctx.fill();
  } else {
    ctx.strokeStyle = colour('--dim');
    ctx.globalAlpha = 0.8;
    ctx.lineWidth = 1.4 * devicePixelRatio;
    ctx.stroke();
  }
  ctx.restore();
}

// None so near the edge that half of it would be cut off.
function timeLabel(u, seconds) {
  const [begin, end] = shownRange();
  return u.valToPos(seconds, 'x') < 24 ? '' : utc(seconds, end - begin < 900);
}

const pad = (value) => String(value).padStart(2, '0');
const utc = (seconds, withSeconds) => {
  const at = new Date(seconds * 1000);
  const minutes = `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
  return withSeconds ? `${minutes}:${pad(at.getUTCSeconds())}` : minutes;
};

function shownRange() {
  const end = times.length ? Math.max(now(), times[times.length - 1]) : now();
  const first = times.length ? times[0] : end;
  const begin = span ? Math.max(end - span, first) : first;
  return [Math.min(begin, end - 60), end];
}

function priceRange(u, low, high) {
  const [begin, end] = shownRange();
  let [least, most] = [low, high];
  for (const [at, price, event] of marks) {
    if (at < begin || at > end || least === null || event === 'new') continue;
    // An order far from the market must not flatten the prices.
    if (price > most && price - most < most - least + most * 0.002) most = price;
    if (price < least && least - price < most - least + least * 0.002) least = price;
  }
  if (least === null) return [0, 1];
  const air = Math.max((most - least) * 0.08, most * 0.0001);
  return [least - air, most + air];
}

function options(width) {
  const axis = {stroke: colour('--dim'), font: '11px Inter, system-ui, sans-serif',
    grid: {stroke: colour('--line'), width: 1}, ticks: {show: false}};
  return {
    width, height: HEIGHT, padding: [8, 8, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'UTC'),
    cursor: {y: false, points: {size: 7}},
    legend: {live: true},
    scales: {x: {time: true, range: () => shownRange()}, y: {range: priceRange}},
    axes: [
      {...axis, space: 70, size: 34, values: (u, at) => at.map((s) => timeLabel(u, s))},
      {...axis, side: 1, size: 66, values: (u, at) => at.map((p) => p.toLocaleString('en', {minimumFractionDigits: digits(), maximumFractionDigits: digits()}))},
    ],
    series: [
      {label: 'Time', value: (u, at) => (at === null ? '—' : `${utc(at, true)} UTC`)},
      {label: 'Price', stroke: colour('--accent'), width: 1.6, points: {show: false}, spanGaps: true,
        fill: colour('--accent-soft'), value: (u, p) => (p === null ? '—' : p.toFixed(digits()))},
    ],
    hooks: {drawClear: [drawGaps], draw: [drawMarks]},
  };
}

function build() {
  plot?.destroy();
  place.replaceChildren();
  plot = new uPlot(options(place.clientWidth), [times, prices], place);
}

function redraw() {
  plot?.setData([times, prices]);
}

function add(at, price) {
  const last = times.length - 1;
  if (last >= 0 && at <= times[last]) {
    if (at === times[last]) prices[last] = price;
    return;
  }
  times.push(at);
  prices.push(price);
  if (times.length > MOST) {
    times = times.slice(-MOST / 2);
    prices = prices.slice(-MOST / 2);
  }
}

async function load() {
  const answer = await fetch(`/history/${symbol.split('/').map(encodeURIComponent).join('/')}`);
  if (!answer.ok) return;
  const chart = await answer.json();
  const waiting = times.map((at, i) => [at, prices[i]]);
  times = chart.t;
  prices = chart.p;
  marks = [...chart.marks, ...marks.filter((mark) => !chart.marks.some((m) => m[0] === mark[0] && m[2] === mark[2] && m[5] === mark[5]))];
  gaps = chart.gaps;
  for (const [at, price] of waiting) add(at, price);
  build();
}

onNews((news) => {
  if (news.point && news.point[0] !== null) add(...news.point);
  if (news.marks) marks.push(...news.marks);
  redraw();
});
for (const chip of document.querySelectorAll('[data-span]')) {
  chip.addEventListener('click', () => {
    span = Number(chip.dataset.span);
    for (const other of document.querySelectorAll('[data-span]')) other.setAttribute('aria-pressed', String(other === chip));
    redraw();
  });
}
document.addEventListener('visibilitychange', () => document.hidden || load()); // what was not drawn
document.addEventListener('theme', build);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', build);
new ResizeObserver(() => plot?.setSize({width: place.clientWidth, height: HEIGHT})).observe(place);
load();
