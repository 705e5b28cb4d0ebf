//! The player page plays: node plays.mjs URL [dark].

import assert from "node:assert/strict";
import { story } from "./harness.mjs";

const [url, theme = "light"] = process.argv.slice(2);

await story([url], { dark: theme === "dark" }, async (visitor) => {
  await visitor.page.goto(url);
  await visitor.until("window.spillway?.stats().playedSeconds > 2");
  await visitor.accessible();
  await visitor.picture(`player-${theme}`);
  const stats = await visitor.page.evaluate("window.spillway.stats()");
  assert.deepEqual([stats.stalls, stats.errors], [0, []]);
  return stats;
});
