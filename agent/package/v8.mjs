import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * What makes V8 small enough for an edge host; figures: design/packaging.md. Set here because a single executable
 * takes no flags, and before anything else is loaded because later it is without effect. Names are those of Node 20;
 * V8 says on standard error which it does not know.
 */
const flags = [
  // The space for new objects stays at its first 1 MB instead of growing to 16 MB in a burst.
  '--semi-space-growth-factor=1',
  // A function is worth optimising after ten times as much work as usual: else each background thread that compiles
  // keeps more than 1 MB, for code that ran once at start. What forwards traffic still gets there in well under a second.
  '--interrupt-budget=675840',
  '--expose-gc',
];
for (const flag of flags) setFlagsFromString(flag);

const settledMs = 20_000;
const sweepMs = 600_000;

/** A burst leaves garbage that V8 keeps until much more comes, which on an idle node may be never. Takes about 10 ms. */
function sweep() {
  runInNewContext('gc')();
}

setTimeout(sweep, settledMs).unref();
setInterval(sweep, sweepMs).unref();
