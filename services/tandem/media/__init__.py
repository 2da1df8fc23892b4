"""The media process: the agent beside a media node and the backends that carry the audio."""
