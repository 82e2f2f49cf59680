"""Decorated functions of every kind: the window covers the run, at once and one in another."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import threading
import time

import pytest

from greenkit.metering import EnergyMeter, compare, count_flops, measure
from greenkit.metering.attribution import attribute
from greenkit.metering.calls import lazy_kind
from greenkit.metering.launches import count_launches
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant

STEP_S = 0.01


def sensor():
    return SimulatedSensor(constant(100), kind=Kind.COUNTER, tick_s=0.0, poll_s=0.005)


@pytest.fixture
def meter():
    with EnergyMeter([sensor()], sync=False) as opened:
        yield opened


@pytest.fixture
def watched(meter):
    return meter.watch("step", items=2)


def only(meter):
    (window,) = meter["step"]
    return window


# -- async functions and generators --------------------------------------------------------------


def test_an_async_function_is_metered_until_its_result(meter, watched):
    @watched
    async def work(x):
        await asyncio.sleep(STEP_S)
        return x + 1

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(1)) == 2
    assert only(meter).duration_s >= STEP_S
    assert only(meter).reading.joules >= 0.9 * 100 * STEP_S


def test_a_coroutine_that_nobody_awaits_has_no_window(meter, watched):
    @watched
    async def work():
        pass

    work().close()
    assert meter.windows == []


def test_an_async_function_that_raises_has_its_window(meter, watched):
    @watched
    async def work():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(work())
    assert len(meter["step"]) == 1


def test_a_generator_is_metered_from_its_first_value_to_its_last(meter, watched):
    @watched
    def work(count):
        for i in range(count):
            time.sleep(STEP_S)
            yield i
        return "done"

    values = work(3)
    assert meter.windows == []
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopIteration, match="done"):
        next(values)
    assert only(meter).duration_s >= 3 * STEP_S


@pytest.mark.parametrize("how", ["close", "forget"])
def test_the_window_of_a_generator_ends_where_it_is_given_up(meter, watched, how):
    @watched
    def work():
        yield 1
        yield 2

    values = work()
    next(values)
    if how == "close":
        values.close()
    else:
        del values
        gc.collect()
    assert only(meter).duration_s >= 0


def test_a_generator_takes_what_is_sent_and_thrown(watched):
    @watched
    def work():
        try:
            got = yield "first"
            yield got
        except KeyError:
            yield "caught"

    values = work()
    assert (next(values), values.send(5), values.throw(KeyError())) == ("first", 5, "caught")


def test_an_async_generator_is_metered_to_its_end(meter, watched):
    @watched
    async def work():
        for i in range(3):
            await asyncio.sleep(STEP_S)
            yield i

    async def all_of_it():
        return [i async for i in work()]

    assert inspect.isasyncgenfunction(work)
    assert asyncio.run(all_of_it()) == [0, 1, 2]
    assert only(meter).duration_s >= 3 * STEP_S


def test_an_async_generator_takes_what_is_sent_and_thrown_and_is_closed(meter, watched):
    closed = []

    @watched
    async def work():
        try:
            try:
                got = yield "first"
                yield got
            except KeyError:
                yield "caught"
        finally:
            closed.append(True)

    async def use():
        values = work()
        seen = [
            await anext(values),
            await values.asend(5),  # codespell:ignore asend
            await values.athrow(KeyError()),
        ]
        await values.aclose()
        return seen

    assert asyncio.run(use()) == ["first", 5, "caught"]
    assert closed == [True]
    assert len(meter["step"]) == 1


# -- other callables -----------------------------------------------------------------------------


class Adder:
    """Adds a number to another, in every way that Python knows."""

    def __init__(self, number=1):
        self.number = number

    def __call__(self, x):
        return x + self.number


def test_a_partial_and_an_object_are_metered_and_keep_their_names(meter, watched):
    power = watched(functools.partial(pow, 2))
    add = watched(Adder(5))
    assert (power(3), add(1)) == (8, 6)
    assert (power.__name__, add.__name__) == ("pow", "Adder")
    assert len(meter["step"]) == 2
    assert not hasattr(add, "number")


def test_methods_static_and_class_methods_are_metered(meter, watched):
    class Counter:
        start = 1

        @watched
        def plain(self, x):
            return x + self.start

        @watched
        @staticmethod
        def static(x):
            return x

        @watched
        @classmethod
        def of_class(cls, x):
            return x + cls.start

        @staticmethod
        @watched
        def inside(x):
            return x

    one = Counter()
    assert (one.plain(1), one.static(1), one.of_class(1), one.inside(1)) == (2, 1, 2, 1)
    assert Counter.of_class(2) == 3
    assert len(meter["step"]) == 5


@pytest.mark.parametrize(("what", "said"), [(Adder, "a class"), (3, "no function: 3")])
def test_what_is_no_function_is_refused(watched, what, said):
    with pytest.raises(TypeError, match=said):
        watched(what)


def test_watch_without_a_name_is_refused_at_once(meter):
    with pytest.raises(TypeError, match="a window has a name"):

        @meter.watch
        def work():
            pass


def test_a_plain_function_that_returns_a_generator_is_refused(watched):
    with pytest.raises(TypeError, match="returned a generator, whose work comes after the call"):
        watched(lambda: (i for i in range(3)))()


@pytest.mark.filterwarnings("error")
def test_a_plain_function_that_returns_a_coroutine_is_refused_without_a_warning(watched):
    async def work():
        pass

    with pytest.raises(TypeError, match="returned an awaitable"):
        watched(lambda: work())()
    gc.collect()


# -- the meter as a decorator --------------------------------------------------------------------


def test_a_decorated_function_may_call_itself():
    meter = EnergyMeter([sensor()])

    @meter
    def factorial(n):
        time.sleep(STEP_S)
        return 1 if n < 2 else n * factorial(n - 1)

    assert factorial(3) == 6
    assert meter.total.duration_s >= 3 * STEP_S
    assert meter.total.reading.joules > 0
    assert not meter.is_open


def test_a_decorated_function_may_run_in_several_threads_and_total_is_the_last_to_finish():
    meter = EnergyMeter([sensor()])
    slow_started, slow_may_end = threading.Event(), threading.Event()

    @meter
    def work(slow):
        if slow:
            slow_started.set()
            slow_may_end.wait(10)
        return slow

    thread = threading.Thread(target=work, args=(True,))
    thread.start()
    slow_started.wait(10)
    begin_s = time.perf_counter()
    assert work(False) is False
    assert meter.total.start_s >= begin_s  # the quick call has finished, the slow one has not
    quick = meter.total
    slow_may_end.set()
    thread.join(10)
    assert meter.total.start_s < begin_s < meter.total.end_s
    assert not meter.is_open
    for window in (quick, meter.total):
        assert window.readings


def test_windows_may_be_opened_inside_a_decorated_call():
    meter = EnergyMeter([sensor()])

    @meter
    def work():
        with meter.window("part"):
            time.sleep(STEP_S)

    work()
    assert meter["part"][0].reading.joules > 0


def test_a_decorated_call_inside_an_open_meter_leaves_its_total_alone():
    meter = EnergyMeter([sensor()])
    work = meter(lambda: time.sleep(STEP_S))
    with meter:
        work()
        time.sleep(STEP_S)
        assert meter.is_open
    assert meter.total.duration_s >= 2 * STEP_S


def test_a_meter_opened_in_a_decorated_call_is_refused():
    meter = EnergyMeter([sensor()])
    with pytest.raises(RuntimeError, match="already open"):
        meter(meter.__enter__)()
    assert not meter.is_open


@pytest.mark.parametrize("kind", ["async", "generator"])
def test_a_decorator_opens_for_the_whole_run(kind):
    meter = EnergyMeter([sensor()])
    if kind == "async":

        @meter
        async def work():
            await asyncio.sleep(STEP_S)

        asyncio.run(work())
    else:

        @meter
        def work():
            time.sleep(STEP_S)
            yield 1

        list(work())
    assert meter.total.duration_s >= STEP_S
    assert not meter.is_open


def test_calls_of_an_async_function_at_once_each_end():
    meter = EnergyMeter([sensor()])

    @meter
    async def work(i):
        await asyncio.sleep(STEP_S * (1 + i))
        return i

    async def both():
        return await asyncio.gather(*(work(i) for i in range(3)))

    assert asyncio.run(both()) == [0, 1, 2]
    assert not meter.is_open


# -- measure, compare and the like ---------------------------------------------------------------


async def a_coroutine():
    pass


async def an_async_generator():
    yield 1


def a_generator():
    yield 1


class AsyncObject:
    async def __call__(self):
        pass


class Inherits(AsyncObject):
    pass


LAZY = {
    "async function": a_coroutine,
    "async generator": an_async_generator,
    "generator": a_generator,
    "partial": functools.partial(functools.partial(a_coroutine)),
    "object": Inherits(),
}


@pytest.mark.parametrize("function", LAZY.values(), ids=LAZY.keys())
@pytest.mark.parametrize(
    "use",
    [
        lambda f, m: measure(f, meter=m),
        lambda f, m: compare({"a": f}, meter=m),
        lambda f, m: attribute(None, f, meter=m),
        lambda f, m: count_flops(f),
        lambda f, m: count_launches(f),
    ],
    ids=["measure", "compare", "attribute", "count_flops", "count_launches"],
)
def test_functions_whose_call_does_not_do_the_work_are_refused(meter, use, function):
    with pytest.raises(TypeError, match="a call only prepares its work, at nearly 0 J; pass"):
        use(function, meter)


@pytest.mark.parametrize(
    "use", [lambda f, m: measure(f, meter=m), lambda f, m: compare({"a": f}, meter=m)]
)
def test_a_function_that_returns_a_generator_is_refused_before_it_is_timed(meter, use):
    with pytest.raises(TypeError, match="returned a generator"):
        use(lambda: a_generator(), meter)
    assert meter.windows == []


@pytest.mark.parametrize("function", [len, Adder, Adder(), functools.partial(pow, 2), [].append])
def test_functions_that_work_when_they_are_called_are_not_lazy(function):
    assert lazy_kind(function) == ""
