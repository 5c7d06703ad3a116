// What every page does: it listens to the server, puts panels in place, and lets ages grow.
// Text from Redis comes either as HTML that the server has escaped (panels), or as JSON that goes
// into the page as text and never as HTML (rows).

const body = document.body;
const stale = document.getElementById('stale');
const clock = document.getElementById('clock');
const STALE_MS = 3000;

let ahead = Number(body.dataset.now) * 1000 - Date.now(); // the server's clock against ours
let heardAt = performance.now();
let source = null;
let state = null;

export const now = () => (Date.now() + ahead) / 1000;

const listeners = [];
/** Call `listener(news)` for each event. */
export const onNews = (listener) => listeners.push(listener);

/** `0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `3 d`: as words.py writes it. */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} d`;
}

export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function takePanels(panels) {
  for (const [name, html] of Object.entries(panels)) {
    const place = document.querySelector(`[data-panel="${name}"]`);
    // Morphed, not replaced: focus, hover and an open menu survive.
    if (place) window.htmx.swap({text: html, target: place, sourceElement: place, swap: 'innerMorph'});
  }
  if (panels.head) announce();
}

function announce() {
  const now = document.querySelector('#head .badge')?.textContent;
  if (state !== null && now !== state) setText(document.getElementById('announce'), `The broker is ${now}`);
  state = now ?? state;
}

function take(event) {
  const news = JSON.parse(event.data);
  heardAt = performance.now();
  stale.hidden = true;
  ahead = news.now * 1000 - Date.now();
  if (news.panels) takePanels(news.panels);
  for (const listener of listeners) listener(news);
}

function listen() {
  if (source) return;
  const asked = new URLSearchParams({view: body.dataset.view, symbol: body.dataset.symbol ?? ''});
  source = new EventSource(`/stream?${asked}`);
  source.onmessage = take;
  source.onerror = () => {
    // A connection that was lost comes back by itself; one that was refused does not.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(() => document.hidden || listen(), 2000);
  };
}

// A page that nobody looks at costs nothing, neither here nor there.
function onVisibility() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    heardAt = performance.now();
    listen();
  }
}

function growAges() {
  const at = now();
  setText(document.getElementById('clock'), new Date(at * 1000).toISOString().slice(11, 19));
  for (const element of document.querySelectorAll('main [data-at], .bar [data-at]')) {
    if (!element.closest('#tickers')) setText(element, duration(at - Number(element.dataset.at)));
  }
  for (const element of document.querySelectorAll('[data-until]')) {
    setText(element, duration(Math.max(0, Number(element.dataset.until) - at)));
  }
  if (!document.hidden) stale.hidden = performance.now() - heardAt < STALE_MS;
}

// A form that takes a ticker away from somebody else asks first.
document.addEventListener('submit', (event) => {
  const form = event.target;
  if (!form.dataset?.confirm || form.dataset.sure) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const dialog = document.getElementById('confirm');
  document.getElementById('confirm-words').textContent = form.dataset.confirm;
  dialog.returnValue = 'no';
  dialog.showModal();
  dialog.onclose = () => {
    if (dialog.returnValue !== 'yes') return;
    form.dataset.sure = 'yes';
    form.requestSubmit();
    delete form.dataset.sure;
  };
}, true);

document.addEventListener('visibilitychange', onVisibility);
window.addEventListener('pagehide', () => source?.close());
setInterval(growAges, 1000);
announce();
if (!document.hidden) listen();
