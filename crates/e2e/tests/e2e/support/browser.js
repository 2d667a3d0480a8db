// Drives one page in Chromium: a command a line on standard input, an answer a line on standard output.
// {"do": "open", "with": "http://…"} is answered with {"ok": …} or {"error": "…"}. Ends when its input does.
"use strict";

const { chromium } = require(process.env.PLAYWRIGHT);
const readline = require("node:readline");

// As long as the tests wait for anything.
const DEADLINE_MS = 55_000;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion",
];

let browser;
let page;
const requests = [];
const complaints = [];

const commands = {
  async start() {
    browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: FLAGS });
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    context.setDefaultTimeout(DEADLINE_MS);
    page = await context.newPage();
    page.on("request", (request) => requests.push(request.url()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    page.on("dialog", (dialog) => {
      complaints.push(`dialogue: ${dialog.message()}`);
      return dialog.dismiss();
    });
  },
  open: (url) => page.goto(url, { waitUntil: "load" }).then(() => null),
  fill: ([selector, text]) => page.fill(selector, text),
  click: (selector) => page.click(selector),
  sees: (text) => page.waitForFunction((text) => document.body && document.body.innerText.includes(text), text)
    .then(() => null)
    .catch(async (error) => {
      throw new Error(`${error.message}\nseen instead:\n${await page.evaluate(() => document.body.innerText)}`);
    }),
  evaluate: (expression) => page.evaluate(expression),
  requests: () => requests,
  complaints: () => complaints,
  picture: (path) => page.screenshot({ path, fullPage: true }).then(() => null),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: command, with: argument } = JSON.parse(line);
    let answer;
    try {
      answer = { ok: (await commands[command](argument)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await browser?.close();
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
