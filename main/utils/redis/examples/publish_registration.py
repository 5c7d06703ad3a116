"""Ask the broker to follow tickers, or to leave them, and print its answers.

    python -m main.utils.redis.examples.publish_registration subscribe AAPL MSFT
    python -m main.utils.redis.examples.publish_registration unsubscribe AAPL

The registration stays when this program has ended: for `--lease-s` seconds, or until it is
unsubscribed. REDIS_HOST or REDIS_URL says where Redis is. Exit code 1: rejected, or no broker.
"""

from __future__ import annotations

import argparse
import sys

from ..config import RedisConfig
from ..errors import BusError
from ..registration import RegistrationClient


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["subscribe", "unsubscribe"])
    parser.add_argument("tickers", nargs="+")
    parser.add_argument("--client-id", default="registration-example")
    parser.add_argument("--lease-s", type=int, default=300)
    args = parser.parse_args()
    try:
        with RegistrationClient(RedisConfig.from_env(), args.client_id) as client:
            if args.action == "subscribe":
                replies = client.register(args.tickers, lease_s=args.lease_s)
            else:
                replies = client.unregister(args.tickers)
    except BusError as error:
        sys.exit(str(error))
    for reply in replies:
        why = f": {reply.reason}, {reply.detail}" if reply.reason else ""
        print(f"{reply.action} {reply.ticker} {reply.status}, holders {reply.holders}{why}")
    return int(any(reply.status == "rejected" for reply in replies))


if __name__ == "__main__":
    sys.exit(main())
