"""Metering: sensors, the energy curve, windows on it, and fair comparisons."""

from greenkit.metering.compare import Comparison, Measurement, compare, measure
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.meter import EnergyMeter, NotMeasuredError, Window
from greenkit.metering.operations import FlopCount, count_flops
from greenkit.metering.replay import Trace
from greenkit.metering.sensor import Kind, Sensor, SensorError, SensorInfo

__all__ = [
    "Comparison",
    "EnergyCurve",
    "EnergyMeter",
    "FlopCount",
    "Kind",
    "Measurement",
    "NotMeasuredError",
    "Sensor",
    "SensorError",
    "SensorInfo",
    "Trace",
    "Window",
    "compare",
    "count_flops",
    "measure",
]
