// A Modbus TCP server on modbus-serial, for the tests.
//
// Any unit; four tables 0..199: holding registers hold their address, input registers 10000 more, coils are on at
// multiples of 3, discrete inputs at even addresses. Writes are kept. Outside the map, or inside `--refuse
// FIRST:COUNT`, it answers exception 2. Prints `PORT n` first; ends when standard input closes.

"use strict";
const { parseArgs } = require("node:util");
const { ServerTCP } = require("modbus-serial");

const SIZE = 200;
const { values: options } = parseArgs({
    options: {
        port: { type: "string", default: "0" },
        refuse: { type: "string", multiple: true, default: [] }
    }
});
const refused = options.refuse.map((text) => text.split(":").map(Number));

const table = (value) => Array.from({ length: SIZE }, (_, address) => value(address));
const coils = table((address) => address % 3 === 0);
const discretes = table((address) => address % 2 === 0);
const holding = table((address) => address);
const input = table((address) => 10000 + address);

// Promises, because the library turns only a rejected one into an exception answer.
const check = async (address) => {
    const inside = refused.some(([first, count]) => first <= address && address < first + count);
    if (address >= SIZE || inside) {
        throw Object.assign(new Error("illegal data address"), { modbusErrorCode: 2 });
    }
};
const get = (from) => (address) => check(address).then(() => from[address]);
const set = (into) => (address, value) => check(address).then(() => { into[address] = value; });

const server = new ServerTCP(
    {
        getCoil: get(coils),
        getDiscreteInput: get(discretes),
        getHoldingRegister: get(holding),
        getInputRegister: get(input),
        setCoil: set(coils),
        setRegister: set(holding)
    },
    // A string, because the library takes the number 0 for "not given" and falls back to 502.
    { host: "127.0.0.1", port: options.port, unitID: 255 }
);
server.on("serverError", (error) => {
    console.error(error.message);
    process.exit(1);
});
server.on("initialized", () => console.log("PORT " + server._server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
