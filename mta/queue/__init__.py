"""The queue: its states, its rules and the dispatcher that moves deliveries through them."""
