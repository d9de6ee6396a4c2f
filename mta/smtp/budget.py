"""How much room all contents that are being received may take together, whichever client sends them.

Past the ceiling a content waits for room, and with it its client, whose octets are not read meanwhile. Room goes to the
content that began first, so that a large one is not overtaken for ever by small ones. Where everybody who holds room
waits for more of it, nobody would ever give any back: then the one that began last is turned away at once.
"""

import asyncio


class ReceiveBudget:
    """Shared by all sessions of a process. Used by one event loop only."""

    def __init__(self, ceiling: int | None = None) -> None:
        """`ceiling`: octets; None: no limit."""
        self._ceiling = ceiling
        self._held = 0
        self._begun = 0
        self._holders: set[Share] = set()
        # in the order in which their contents began
        self._waiting: list[Share] = []

    @property
    def held(self) -> int:
        """Octets held by all contents now."""
        return self._held

    def share(self) -> "Share":
        """Return the share of a content that begins now: nothing yet, whatever size was declared for it."""
        self._begun += 1
        return Share(self, self._begun)

    def replace(self, ceiling: int | None) -> None:
        """Let another ceiling hold from now on. What is held above it is kept until it is given back."""
        self._ceiling = ceiling
        self._settle()

    # --- for shares

    def take(self, share: "Share", octets: int) -> bool:
        """Give room at once, or not at all."""
        if (self._waiting and self._waiting[0].began < share.began) or not self._has(octets):
            return False
        self._give(share, octets)
        return True

    async def wait(self, share: "Share", octets: int, patience: float) -> bool:
        """Give room when there is some; False: there will be none, or there was none for too long."""
        if self._ceiling is not None and share.held + octets > self._ceiling:
            return False
        share.wants, share.granted = octets, asyncio.get_running_loop().create_future()
        self._waiting.append(share)
        self._waiting.sort(key=lambda each: each.began)
        try:
            self._settle()
            async with asyncio.timeout(patience):
                return await share.granted
        except TimeoutError:
            return share.granted.done() and not share.granted.cancelled() and share.granted.result()
        finally:
            if share in self._waiting:
                self._waiting.remove(share)
                self._settle()

    def give_back(self, share: "Share") -> None:
        """Take back all that a share has."""
        self._held -= share.held
        share.held = 0
        self._holders.discard(share)
        self._settle()

    def _has(self, octets: int) -> bool:
        return self._ceiling is None or self._held + octets <= self._ceiling

    def _give(self, share: "Share", octets: int) -> None:
        share.held += octets
        self._held += octets
        self._holders.add(share)

    def _settle(self) -> None:
        """Give room to those who wait, in their order; where all are stuck, send the last one away."""
        while self._waiting:
            if self._has(self._waiting[0].wants):
                self._serve(self._waiting[0])
            elif self._holders and self._holders.issubset(self._waiting):
                small = next((each for each in self._waiting if self._has(each.wants)), None)
                if small is None:
                    self._dismiss(max(self._holders, key=lambda each: each.began))
                    # what it holds comes back when it has heard so
                    return
                self._serve(small)
            else:
                return

    def _serve(self, share: "Share") -> None:
        self._waiting.remove(share)
        self._give(share, share.wants)
        _answer(share, given=True)

    def _dismiss(self, share: "Share") -> None:
        self._waiting.remove(share)
        _answer(share, given=False)


class Share:
    """What one content holds."""

    def __init__(self, budget: ReceiveBudget, began: int) -> None:
        self._budget = budget
        self.began = began
        """Its place among all contents."""
        self.held = 0
        """Octets."""
        self.wants = 0
        self.granted: asyncio.Future[bool]

    def take(self, octets: int) -> bool:
        """Take so much more at once; False: there is no room now."""
        return self._budget.take(self, octets)

    async def wait(self, octets: int, patience: float) -> bool:
        """Take so much more when there is room; False: not within `patience`, in seconds, or never."""
        return await self._budget.wait(self, octets, patience)

    def give_back(self) -> None:
        """Give back all of it. Can be repeated."""
        if self.held:
            self._budget.give_back(self)


def _answer(share: Share, *, given: bool) -> None:
    if not share.granted.done():
        share.granted.set_result(given)
