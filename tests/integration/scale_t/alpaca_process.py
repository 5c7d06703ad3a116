"""The local Alpaca as a process, for the proofs: nothing moves but what its control port is told.

`python -m tests.integration.scale_t.alpaca_process PORT CONTROL_PORT PARTIAL_FILL_RATE`
"""

from __future__ import annotations

import sys

from main.alpaca_sim import MarketRules, SimConfig, StreamRules, run_forever
from main.alpaca_sim.venue_config import VenueConfig


def main() -> None:
    """Serve until it is ended."""
    config = SimConfig(
        port=int(sys.argv[1]),
        control_port=int(sys.argv[2]),
        market=MarketRules(default_rate=0, rates={"AAPL": 0}, prices={"AAPL": 100.0}),
        venue=VenueConfig(partial_fill_rate=float(sys.argv[3])),
        streams=StreamRules(zombie_slot_s=0.1, handshake_limit=0),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    run_forever(config, lambda address: print(f"listens on {address.port}", flush=True))


if __name__ == "__main__":
    main()
