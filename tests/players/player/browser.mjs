//! The players of browsers: a page plays, watches itself, and posts what it saw (page/watch.js).

import { createServer } from "node:http";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { installed, inFolder, pause, run, version } from "../child.mjs";

const here = new URL("..", import.meta.url).pathname;
const CHROMIUM = process.env.CHROMIUM ?? "chromium";
const FIREFOX = ["firefox-esr", "firefox"].find(installed) ?? "firefox";

export const browsers = {
  Chromium: {
    program: CHROMIUM,
    command: (folder, url) => [
      ...["--headless", "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
      ...["--disable-sync", "--no-first-run", "--autoplay-policy=no-user-gesture-required", `--user-data-dir=${folder}`],
      url,
    ],
  },
  Firefox: {
    program: FIREFOX,
    command: (folder, url) => {
      const preferences = {
        "media.autoplay.default": 0,
        "media.autoplay.blocking_policy": 0,
        "media.autoplay.block-webaudio": false,
        // A sound device that is not there stops its audio clock; this one always is.
        "media.cubeb.force_mock_context": true,
        "datareporting.policy.dataSubmissionEnabled": false,
        "app.update.enabled": false,
        "app.normandy.enabled": false,
        "network.captive-portal-service.enabled": false,
        "network.connectivity-service.enabled": false,
        "services.settings.server": "",
      };
      const lines = Object.entries(preferences).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`);
      writeFileSync(join(folder, "user.js"), lines.join("\n"));
      return ["--headless", "--no-remote", "--profile", folder, url];
    },
  },
};

/** A player of the page in one of the browsers. */
export function inBrowser(player, browser, library) {
  const { program, command } = browsers[browser];
  const missing = library && !home(library);
  return {
    name: `${player} in ${browser}`,
    obstacle: () => {
      if (missing) return `${library} is not installed; npm ci in tests/players`;
      return installed(program) ? null : `${program} is not installed`;
    },
    version: () => [library && libraryVersion(library), `${browser} ${version(program)}`].filter(Boolean).join(", "),
    watch: (url, seconds, { low = false } = {}) =>
      inFolder(async (folder) => {
        let reported;
        const report = new Promise((told) => (reported = told));
        const page = await serve((said) => reported(JSON.parse(said)));
        const query = new URLSearchParams({ player, src: url, seconds, ...(low && { low: "" }) });
        const said = [];
        const parameters = command(folder, `http://127.0.0.1:${page.port}/page/index.html?${query}`);
        const started = run(program, parameters, { said: (line) => said.push(line), env: { HOME: folder } });
        const seen = await Promise.race([report, started.ended, pause(seconds + 40)]);
        await started.stop();
        page.close();
        if (seen?.pictures) return seen;
        throw new Error(`${browser} reported nothing; it said ${said.slice(-5).join(" | ")}`);
      }),
  };
}

function libraryVersion(library) {
  return JSON.parse(readFileSync(join(home(library), "package.json"), "utf8")).version;
}

/** Where a library is: here, or among the pages' own, as hls.js is. */
function home(library) {
  return [here, join(here, "../../web")].map((root) => join(root, "node_modules", library)).find((path) => existsSync(path));
}

/** Serves the pages, what they import, and the libraries; hands on what they post. */
export async function serve(posted) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (request.method === "POST") {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => {
        response.end();
        posted(Buffer.concat(chunks).toString());
      });
      return;
    }
    const name = normalize(pathname);
    const [, library, file] = /^\/lib\/([^/]+)\/(.*)$/.exec(name) ?? [];
    const path = library ? join(home(library) ?? here, file) : join(here, name);
    const allowed = (library || /^\/page\/|^\/(pattern|tone)\.mjs$/.test(name)) && existsSync(path);
    response.writeHead(allowed ? 200 : 404, { "content-type": TYPES[extname(name)] ?? "application/octet-stream" });
    response.end(allowed ? readFileSync(path) : "");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { port: server.address().port, close: () => server.close() && server.closeAllConnections() };
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript" };
