// Print tickers' trades, and the account's orders in them, as they happen.
//
//     npm install
//     node consumer.mjs AAPL MSFT
//     REDIS_URL=redis://10.0.0.5:6379 node consumer.mjs AAPL
//
// Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.

import { follow } from "./follow.mjs";

function show(message) {
  const { symbol, epoch, seq } = message;
  const what = {
    price: () => `${message.price} x ${message.volume}`,
    order: () => `${message.event} ${message.order_data.client_order_id}`,
    gap: () => `${message.cause}, lost ${message.lost ?? "unknown"}`,
  }[message.type];
  console.log(symbol, `${epoch}-${seq ?? 0}`, message.type, what?.() ?? "");
}

const tickers = process.argv.slice(2).map((ticker) => ticker.toUpperCase());
const bus = await follow({
  clientId: process.env.CLIENT_ID ?? `js-${process.pid}`,
  leaseS: Number(process.env.LEASE_S ?? 60),
  tickers: tickers.length ? tickers : ["AAPL"],
  onMessage: show,
  onRejected: (reply, bus) => {
    console.error(`${reply.ticker} is not followed, ${reply.reason}: ${reply.detail ?? ""}`);
    process.exitCode = 1;
    bus.close();
  },
});

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => bus.close());
