//! Builds the pages into dist/: bundles, hashes, and writes the HTML that names the hashed files.
//!
//! The result is embedded into the server programs, so it holds everything the pages need, the
//! licences of what was bundled included. Serving it is the server's business, not this file's.

import { build } from "esbuild";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/** `base` is the URL under which the server serves that page's assets; `html` are the documents that share them. */
const pages = [
  { name: "player", base: "/assets/", html: ["index.html", "embed.html"] },
  { name: "ops", base: "/ops/assets/", html: ["index.html"] },
  { name: "analytics", base: "/analytics/assets/", html: ["index.html"] },
];

await rm(join(here, "dist"), { recursive: true, force: true });
for (const page of pages) await bundle(page);

async function bundle({ name, base, html }) {
  const out = join(here, "dist", name);
  const result = await build({
    absWorkingDir: here,
    entryPoints: { [name]: `src/${name}/main.ts`, [`${name}-style`]: `src/${name}/style.css` },
    outdir: join(out, "assets"),
    // A hash in the name lets the server say "immutable" without a page ever going stale.
    entryNames: "[name]-[hash]",
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2021", "chrome90", "firefox90", "safari15"],
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  const built = Object.entries(result.metafile.outputs);
  const made = (entry) => base + basename(built.find(([, o]) => o.entryPoint === entry)[0]);
  const names = {
    script: made(`src/${name}/main.ts`),
    style: made(`src/${name}/style.css`),
    licences: `${base}licences.html`,
  };
  await mkdir(out, { recursive: true });
  for (const file of html) await writeFile(join(out, file), await filled(join(here, "src", name), file, names));
  await writeFile(join(out, "assets", "licences.html"), await licences(result.metafile));
  for (const [path, output] of built) {
    console.log(`${path.padEnd(48)} ${(output.bytes / 1024).toFixed(1).padStart(8)} KiB`);
  }
}

/**
 * A document with the names of the bundles in it, and the pieces of HTML that it shares with others: `{{stage}}` is
 * pieces/stage.html beside it, or else in src/shared.
 */
async function filled(folder, file, names) {
  let text = await readFile(join(folder, file), "utf8");
  for (const [whole, piece] of text.matchAll(/\{\{(\w+)\}\}/g)) {
    const put = names[piece] ?? (await pieceOf(folder, piece)).trimEnd();
    text = text.replace(whole, () => put);
  }
  return text;
}

async function pieceOf(folder, piece) {
  const [own, shared] = [folder, join(here, "src", "shared")].map((root) => join(root, "pieces", `${piece}.html`));
  return readFile(existsSync(own) ? own : shared, "utf8");
}

/** The licence text of every package whose code went into the bundle, as a page. */
async function licences(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) packages.add(found[1]);
  }
  const parts = [];
  for (const name of [...packages].sort()) {
    const root = join(here, "node_modules", name);
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    const file = (await readdir(root)).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file) throw new Error(`${name} ${version}: the package holds no licence file to pass on`);
    parts.push(`<h2>${name} ${version}</h2>\n<pre>${escaped(await readFile(join(root, file), "utf8"))}</pre>\n`);
  }
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Licences</title>
<style>body { font-family: system-ui, sans-serif; max-width: 80ch; margin: 2rem auto; padding: 0 1rem } pre { white-space: pre-wrap }</style>
<h1>Licences</h1>
<p>This page's programs contain the work of others, under these licences.</p>
${parts.join("")}</html>
`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
