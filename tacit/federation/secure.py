"""Both ends of the secure sum inside a round: contributions become integers, are masked, added and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tacit.core.plan import Plan
from tacit.core.protocols import Engine, exchange
from tacit.core.values import Array, Params, ProtocolError, Reply, Request, Vector
