"""Modules that are loaded when something of them is first used, not where a library imports them.

pydantic-settings imports `asyncio` for command lines of its own, which nobody has here: 30 modules of a small import.
(`importlib.util.LazyLoader` loads at the next `import` already, which looks at the module's `__spec__`.)
"""

import sys
import threading
from importlib.util import find_spec, module_from_spec

_LOADING = threading.RLock()
"""Held while one is loaded: what another thread asks of it waits."""


def load_later(name: str) -> None:
    """Have a module load at its first use; one that is loaded already stays as it is."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    loaders, module = [spec.loader], module_from_spec(spec)

    def load(attribute: str) -> object:  # PEP 562
        if attribute == "__path__":  # each `from … import` asks for it; a package has it
            raise AttributeError(f"module {name!r} has no attribute '__path__'")
        with _LOADING:
            if loaders:
                loaders.pop().exec_module(module)
                if vars(module)["__getattr__"] is load:  # a module may have one of its own
                    del module.__getattr__
            elif vars(module).get("__getattr__") is load:  # it asks for it itself, while it loads
                raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return getattr(module, attribute)

    module.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = module
