"""The link between shard owners and media agents, both ends; one gRPC stream per pair of processes."""
