"""Pure: from what order messages mean to trade events, so that everybody tells the same story.

The trade executor and the events bridge both hear of the same orders, one by Alpaca's REST, the
other from the broker. Both build their events here: the same order, execution and position gets the
same event id from either, so that the two words of it become one event on the bus.
"""

from .maker import OrderEvents
from .positions import Holding, PositionChange

__all__ = ["Holding", "OrderEvents", "PositionChange"]
