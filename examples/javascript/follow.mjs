// The rules of docs/clients.md, in JavaScript: every message of a ticker once and in order; what
// was missed comes from the journal; what no journal has any more is told as a `gap`.

import Redis from "ioredis";

const PREFIX = process.env.BUS_PREFIX ?? "";
const REQUESTS = `${PREFIX}BROKER_REGISTRATION`;
const REPLIES = `${PREFIX}BROKER_REGISTRATION_REPLIES`;
const STATUS = `${PREFIX}BROKER_STATUS`;
const PASSING = ["rate_limited", "upstream_unavailable"]; // reasons to ask again
const ASK_AGAIN_MS = 5_000;
const SILENCE_MS = 5_000; // without a heartbeat: the connection may be dead, and nothing says so

/** Follow `tickers` until `close()` is called on what this returns, and `onRejected` gets too. */
export async function follow({ clientId, leaseS, tickers, onMessage, onRejected }) {
  const { REDIS_HOST = "localhost", REDIS_PORT = 6379 } = process.env;
  const url = process.env.REDIS_URL ?? `redis://${REDIS_HOST}:${REDIS_PORT}`;
  const redis = new Redis(url, { maxRetriesPerRequest: null });
  // A connection that subscribes can do nothing else. It joins again in `join`, below: only once
  // that is confirmed, nothing more can be missed.
  const subscriber = new Redis(url, { autoResubscribe: false, maxRetriesPerRequest: null });
  const readers = new Map();
  for (const ticker of tickers) {
    readers.set(`${PREFIX}TICKER_UPDATES_${ticker}`, new Reader(redis, ticker, onMessage));
  }
  let epoch = null;
  let heardAt = Date.now();
  let closing = false;
  let renewal, watchdog;

  function ask(action) {
    for (const ticker of tickers) {
      const request = { action, ticker, client_id: clientId };
      if (action === "subscribe") request.lease_s = leaseS;
      redis.publish(REQUESTS, JSON.stringify(request));
    }
  }

  function onReply(reply) {
    if (closing || reply.client_id !== clientId || reply.status !== "rejected") return;
    if (PASSING.includes(reply.reason)) setTimeout(() => closing || ask("subscribe"), ASK_AGAIN_MS);
    else onRejected(reply, bus);
  }

  function onHeartbeat(status) {
    heardAt = Date.now();
    // Another broker: pub/sub forgot what was said while none was there.
    if (epoch !== null && status.epoch !== epoch) ask("subscribe");
    epoch = status.epoch;
    for (const [channel, reader] of readers) {
      const known = status.tickers?.[channel.slice(`${PREFIX}TICKER_UPDATES_`.length)];
      if (known) reader.hint(status.epoch, known.seq);
      else if (!status.tickers) reader.catchUp(); // too many for one message: the journal tells
    }
  }

  async function join() {
    for (const reader of readers.values()) await reader.begin();
    await subscriber.subscribe(...readers.keys(), REPLIES, STATUS);
    for (const reader of readers.values()) reader.catchUp();
    ask("subscribe");
  }

  const bus = {
    async close() {
      if (closing) return;
      closing = true;
      for (const reader of readers.values()) reader.closed = true;
      clearInterval(renewal);
      clearInterval(watchdog);
      const connections = [redis, subscriber];
      const hurry = setTimeout(() => connections.forEach((each) => each.disconnect()), 2_000);
      ask("unsubscribe");
      await Promise.allSettled(connections.map((each) => each.quit()));
      clearTimeout(hurry);
    },
  };

  for (const connection of [redis, subscriber]) {
    connection.on("error", (error) => console.error(`redis: ${error.message}`)); // it tries again
  }
  subscriber.on("message", (channel, payload) => {
    const message = parse(payload);
    if (channel === STATUS) onHeartbeat(message);
    else if (channel === REPLIES) onReply(message);
    else readers.get(channel)?.receive(message);
  });
  await new Promise((joined) => {
    subscriber.on("ready", () => join().then(joined, (error) => console.error(error.message)));
  });
  if (closing) return bus; // rejected already
  renewal = setInterval(() => ask("subscribe"), (leaseS * 1000) / 3);
  watchdog = setInterval(() => {
    if (Date.now() - heardAt < SILENCE_MS) return;
    heardAt = Date.now();
    subscriber.disconnect(true); // and connect again
  }, 1_000);

  return bus;
}

/** Where one ticker's reader stands. `epoch-seq` is its place in sequence and journal alike. */
class Reader {
  constructor(redis, ticker, onMessage) {
    this.redis = redis;
    this.ticker = ticker;
    this.log = `${PREFIX}TICKER_LOG_${ticker}`;
    this.orderLog = `${PREFIX}ORDER_LOG_${ticker}`;
    this.onMessage = onMessage;
    this.place = null; // of the last message that was handed over
    this.waiting = []; // what came while the journal was read
    this.reading = this.again = this.closed = false;
  }

  /** Before the first SUBSCRIBE: what is published from now on is ours. */
  async begin() {
    if (this.place !== null) return;
    const [top] = await this.redis.xrevrange(this.log, "+", "-", "COUNT", 1);
    this.place = top ? placeOf(top[0]) : { epoch: 0, seq: 0 };
  }

  receive(message) {
    const { epoch, seq } = this.place;
    if (this.reading) {
      this.waiting.push(message);
    } else if (message.epoch === epoch && message.seq === seq + 1) {
      this.handOver(message);
    } else if (message.epoch !== epoch || message.seq > seq) {
      this.waiting.push(message); // a hole, or another epoch: the journal knows
      this.catchUp();
    } // else it was handed over before
  }

  /** Somebody who knows says that messages up to here were published. */
  hint(epoch, seq) {
    if (seq > 0 && isAfter({ epoch, seq }, this.place)) this.catchUp();
  }

  async catchUp() {
    this.again = true;
    if (this.reading) return;
    this.reading = true;
    while (this.again) {
      this.again = false;
      try {
        await this.refill();
      } catch (error) {
        if (this.closed) return;
        console.error(`journal of ${this.ticker}: ${error.message}`);
        await new Promise((later) => setTimeout(later, 500)); // whatever comes next asks again
      }
    }
    this.reading = false;
    for (const message of this.waiting.splice(0)) this.receive(message);
  }

  async refill() {
    const lower = this.waiting.find((message) => message.epoch < this.place.epoch);
    if (lower) await this.doubt(lower.epoch);
    const known = this.waiting.length; // what comes later, the journal as we read it may lack
    const from = `${this.place.epoch}-${this.place.seq}`;
    // With our own place: if the journal still has that, nothing after it was trimmed.
    let entries = await this.redis.xrange(this.log, from, "+");
    if (entries[0]?.[0] !== from) {
      const orders = await this.redis.xrange(this.orderLog, `(${from}`, "+"); // kept for longer
      entries = [...new Map([...orders, ...entries])].sort(byPlace);
    }
    for (const [id, [, payload]] of entries) this.step({ ...parse(payload), ...placeOf(id) });
    for (const message of this.waiting.splice(0, known)) this.step(message);
  }

  /** A lower epoch: a broker that was superseded, or one whose clock was set back. Redis knows. */
  async doubt(epoch) {
    const authority = Number(await this.redis.get(`${PREFIX}BROKER_EPOCH`));
    if (authority === epoch) this.place = { epoch, seq: 0 };
    else this.waiting = this.waiting.filter((message) => message.epoch !== epoch);
  }

  /** The next message that there is; what is missing before it, nobody has. */
  step(message) {
    if (!isAfter(message, this.place)) return;
    const { epoch, seq } = this.place;
    const lost = message.epoch === epoch ? message.seq - seq - 1 : null;
    if (epoch !== 0 && (lost ?? message.seq - 1) > 0) {
      const gap = { type: "gap", symbol: this.ticker, epoch: message.epoch, lost };
      this.onMessage({ ...gap, cause: "journal_expired", backfilled: false });
    }
    this.handOver(message);
  }

  handOver(message) {
    this.place = { epoch: message.epoch, seq: message.seq };
    this.onMessage(message);
  }
}

/** What is no JSON object has no type: whoever reads ignores types that he does not know. */
function parse(payload) {
  try {
    return Object(JSON.parse(payload));
  } catch {
    return {};
  }
}

function placeOf(id) {
  const [epoch, seq] = id.split("-").map(Number);
  return { epoch, seq };
}

function isAfter(one, other) {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.seq > other.seq);
}

function byPlace([one], [other]) {
  return isAfter(placeOf(one), placeOf(other)) ? 1 : -1;
}
