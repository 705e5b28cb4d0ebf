//! Programs that are run and ended, and the places they write to.

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";

/** Whether a program can be run here. */
export function installed(name) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What a program says of its version: the first number in its first line that has one. */
export function version(name, parameters = ["--version"]) {
  const { stdout, stderr } = spawnSync(name, parameters, { encoding: "utf8", timeout: 20_000 });
  return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? "?";
}

/** A running program, in a process group of its own, whose lines are handed to `said`. */
export function run(command, parameters, { said = () => {}, env = {}, cwd } = {}) {
  const child = spawn(command, parameters, {
    cwd,
    detached: true,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((over) => {
    child.on("error", (error) => over({ error }));
    child.on("close", (code, signal) => over({ code, signal }));
  });
  for (const output of [child.stdout, child.stderr]) createInterface({ input: output }).on("line", said);
  running.add(child);
  ended.then(() => running.delete(child));
  return { child, ended, stop: () => stop(child, ended) };
}

/** Ends the whole group: asks first, and does not ask for long. */
async function stop(child, ended) {
  if (child.pid === undefined) return ended;
  signal(child, "SIGTERM");
  const patience = setTimeout(() => signal(child, "SIGKILL"), 3000);
  const end = await ended;
  clearTimeout(patience);
  signal(child, "SIGKILL");
  return end;
}

function signal(child, name) {
  try {
    process.kill(-child.pid, name);
  } catch {
    // It has gone.
  }
}

/** The octets that a program writes to the pipe `path`, over all the times it opens it. */
export function pipe(path, octets) {
  if (spawnSync("mkfifo", ["-m", "666", path]).status !== 0) throw new Error(`no pipe can be made at ${path}`);
  // Opened for reading and writing, it has no end when the writer closes it.
  const child = spawn("sh", ["-c", 'exec cat <>"$0"', path], { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.on("data", octets);
  running.add(child);
  return () => child.kill("SIGKILL") && running.delete(child);
}

/** A folder that lasts as long as `work`. Others may write there: VLC runs as nobody. */
export async function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "spillway-players-"));
  spawnSync("chmod", ["777", folder]);
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A port that is free now, for programs that have to know of each other before they start. */
export function free() {
  return new Promise((found) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => found(port));
    });
  });
}

export const pause = (seconds) => new Promise((over) => setTimeout(over, seconds * 1000));

const running = new Set();
process.on("exit", () => running.forEach((child) => signal(child, "SIGKILL")));
for (const name of ["SIGINT", "SIGTERM"]) process.on(name, () => process.exit(130));
