"""What every process needs once: shard, driver, configuration, lifecycle, servers."""
