"""Metrics, traces and structured log lines (house: telemetry).

    names       what there is: every metric, span and log event, declared once
    meters      counting: plain objects, cheap enough to be always on
    text, otlp  the two ways out: /metrics, and a push to a collector
    spans       whole spans into a bounded queue; none is made for what is not traced
    shards, media, calls, loop   what is measured where

Nothing here can fail or hold up a call: what a collector does not take is dropped.
"""
