"""Fake providers for development and tests: as strict as the real ones, with faults on demand and an inbox."""

from app.dev.fakes.app import Fakes as Fakes
from app.dev.fakes.server import running_fakes as running_fakes
from app.dev.fakes.server import serve as serve
