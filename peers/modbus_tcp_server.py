"""A Modbus server on pymodbus, for the tests: TCP, RTU over TCP (`--rtu`), RTU on a serial port (`--serial PATH`).

Units 1 and 2 (or `--units`), each with four tables 0..199: holding registers hold their address (+ 1000 per unit
above the first), input registers 10000 more, coils are on at multiples of 3, discrete inputs at even addresses.

`--set JSON` puts values into it before it starts, a list of
    {"unit": 1, "table": "holding", "address": 100, "type": "float32", "value": 21.5, "wordOrder": "big"}
with type one of int16, uint16, int32, uint32, int64, uint64, float32, float64, bool (coils and discrete inputs).

`--habit UNIT:HABIT` says what a unit makes of what functions 6 and 16 write, and `--journal PATH` what is written down of
all that arrives; both are the same for the libmodbus server: see README.md.

Prints `PORT n` first (0: a serial port); ends when standard input closes. See README.md beside this file.
"""

import argparse
import asyncio
import json
import os
import struct
import sys
import threading

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

SIZE = 200
FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I",
    "int64": ">q", "uint64": ">Q", "float32": ">f", "float64": ">d",
}


def build_tables(offset):
    """The four tables of one unit, as plain lists."""
    return {
        "coil": [address % 3 == 0 for address in range(SIZE)],
        "discrete": [address % 2 == 0 for address in range(SIZE)],
        "holding": [(offset + address) % 65536 for address in range(SIZE)],
        "input": [(10000 + offset + address) % 65536 for address in range(SIZE)],
    }


def put(tables, item):
    """Writes one `--set` item into the tables of its unit."""
    table, address = tables[item.get("table", "holding")], item["address"]
    if item["type"] == "bool":
        table[address] = bool(item["value"])
        return
    packed = struct.pack(FORMATS[item["type"]], item["value"])
    words = [word for (word,) in struct.iter_unpack(">H", packed)]
    if item.get("wordOrder", "big") == "little":
        words.reverse()
    if address + len(words) > SIZE:
        raise SystemExit(f"--set: {item} does not fit into addresses 0..{SIZE - 1}")
    table[address:address + len(words)] = words


class Habit:
    """What a unit makes of what is written to its holding registers."""

    def __init__(self, text="obey"):
        self.name, *numbers = text.split(":")
        self.numbers = [int(number) for number in numbers]
        if (self.name, len(numbers)) not in HABITS:
            raise SystemExit(f"--habit: {text} is none of {HABITS}")
        # Values on their way, by address, with the reads that they come after; addresses that are not read any more.
        self.coming, self.hidden = {}, set()

    def write(self, address, shown, written):
        """What `address`, which shows a value, shows after another was written."""
        match self.name:
            case "ignore":
                return shown
            case "round":
                return written - written % self.numbers[0]
            case "limit":
                return min(max(written, self.numbers[0]), self.numbers[1])
            case "late":
                self.coming[address] = (written, self.numbers[0])
                return shown
            case "hide":
                self.hidden.add(address)
        return written

    def read(self, address, shown):
        """What `address` shows this time and the next; none: it can't be read."""
        if address in self.hidden:
            return None
        value, left = self.coming.pop(address, (shown, 0))
        if left == 0:
            return value
        self.coming[address] = (value, left - 1)
        return shown


HABITS = [("obey", 0), ("ignore", 0), ("round", 1), ("limit", 2), ("late", 1), ("hide", 0), ("dead", 1)]


def device(unit, tables, habit, arguments):
    """The simulated device: pymodbus keeps the registers, we only refuse, delay, and have habits."""
    refused = [tuple(int(part) for part in text.split(":")) for text in arguments.refuse]

    async def action(function, start, address, count, registers, values):
        if arguments.delay_ms:
            await asyncio.sleep(arguments.delay_ms / 1000)
        for first, length in refused:
            if address < first + length and first < address + count:
                return ExcCodes.ILLEGAL_ADDRESS
        for position in range(count if function in (3, 6, 16) else 0):
            place = address - start + position
            if values is not None:
                values[position] = habit.write(address + position, registers[place], values[position])
            elif function == 3:  # with the others pymodbus looks at what it has written
                shown = habit.read(address + position, registers[place])
                if shown is None:
                    return ExcCodes.DEVICE_FAILURE
                registers[place] = shown
        return None

    def block(name, datatype):
        return [SimData(0, values=tables[name], datatype=datatype)]

    return SimDevice(
        id=unit,
        simdata=(
            block("coil", DataType.BITS),
            block("discrete", DataType.BITS),
            block("holding", DataType.REGISTERS),
            block("input", DataType.REGISTERS),
        ),
        action=action,
    )


def journal(path):
    """Writes down what arrives: a connection as `C`, a request as `R` or `W`, unit, function, address."""
    file = open(path, "a", buffering=1, encoding="ascii")

    def connected(is_connected):
        if is_connected:
            file.write("C\n")

    def arrived(pdu):
        kind = "W" if pdu.function_code in (5, 6, 15, 16, 22, 23) else "R"
        file.write(f"{kind} {pdu.dev_id} {pdu.function_code} {pdu.address}\n")

    return connected, arrived


def echoing(arrived):
    """Answers function 6 with what was asked for, as the protocol wants it; pymodbus does with what stands there then."""
    asked = {}

    def trace(sending, pdu):
        if not sending:
            arrived(pdu)
        if pdu.function_code == 6 and sending:
            pdu.registers = asked.pop((pdu.dev_id, pdu.address), pdu.registers)
        elif pdu.function_code == 6:
            asked[pdu.dev_id, pdu.address] = list(pdu.registers)
        return pdu

    return trace


def cutter(every, dead):
    """Cuts each `every`-th answer in half, and those of units away that are dead after so many; the rest never comes."""
    count = 0

    def trace(sending, data):
        nonlocal count
        if sending and len(data) > 6 and data[6] in dead:
            dead[data[6]] -= 1
            if dead[data[6]] < 0:
                return b""
        if sending and every:
            count += 1
            if count % every == 0:
                return data[: len(data) // 2]
        return data

    return trace


def end_with_parent():
    """Ends the process when whoever started it closes the pipe, be it by dying."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rtu", action="store_true", help="RTU frames over TCP")
    parser.add_argument("--serial", metavar="PATH", help="RTU on this serial port, at 19200 baud, 8N1")
    parser.add_argument("--units", default="1,2", help="comma-separated unit identifiers")
    parser.add_argument("--set", default="[]", help="values to put into the map, as JSON")
    parser.add_argument("--refuse", action="append", default=[], metavar="FIRST:COUNT")
    parser.add_argument("--delay-ms", type=int, default=0, help="wait this long before each answer")
    parser.add_argument("--half-frame-every", type=int, default=0, metavar="N")
    parser.add_argument("--habit", action="append", default=[], metavar="UNIT:HABIT")
    parser.add_argument("--journal", metavar="PATH")
    arguments = parser.parse_args()

    units = [int(unit) for unit in arguments.units.split(",")]
    tables = {unit: build_tables(1000 * index) for index, unit in enumerate(units)}
    for item in json.loads(arguments.set):
        put(tables[item.get("unit", units[0])], item)

    habits = {unit: Habit() for unit in units}
    for text in arguments.habit:
        unit, _, habit = text.partition(":")
        habits[int(unit)] = Habit(habit)
    devices = [device(unit, tables[unit], habits[unit], arguments) for unit in units]
    dead = {unit: habits[unit].numbers[0] for unit in units if habits[unit].name == "dead"}
    cut = cutter(arguments.half_frame_every, dead)
    connected, arrived = journal(arguments.journal) if arguments.journal else (lambda _: None, lambda _: None)
    traces = {"trace_packet": cut, "trace_connect": connected, "trace_pdu": echoing(arrived)}
    if arguments.serial:
        server = ModbusSerialServer(devices, port=arguments.serial, baudrate=19200, **traces)
    else:
        framer = FramerType.RTU if arguments.rtu else FramerType.SOCKET
        server = ModbusTcpServer(
            devices, address=("127.0.0.1", arguments.port), framer=framer, **traces
        )
    await server.serve_forever(background=True)
    print("PORT", 0 if arguments.serial else server.transport.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    await server.serving


asyncio.run(main())
