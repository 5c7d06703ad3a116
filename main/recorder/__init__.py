"""The flight recorder: what the bus carried, in daily Parquet files, and played again from them."""
