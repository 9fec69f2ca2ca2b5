import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { watchEngine } from '../../../agent/pods/watch-engine.ts';
import type { RuntimeEvent } from '../../../agent/runtime/runtime.ts';
import { createLog } from '../../../shared/log.ts';
import { FakeClock } from '../../fakes/clock.ts';

const test = suite('watch engine');

test('an engine that is away is asked again and again, and told of once', async () => {
  const [lines, heard, abort, clock]: [string[], unknown[], AbortController, FakeClock] = [[], [], new AbortController(), new FakeClock()];
  const answers = ['away', 'away', 'away', 'elsewhere', undefined];
  let asked = 0;
  const runtime = {
    events: (_: string, signal: AbortSignal): Promise<AsyncIterable<RuntimeEvent>> => {
      const why = answers[asked++];
      if (why !== undefined) return Promise.reject(new Error(why));
      return Promise.resolve((async function* silent(): AsyncGenerator<RuntimeEvent> { if (!signal.aborted) await new Promise((over) => { signal.addEventListener('abort', over); }); })());
    },
  };
  const running = watchEngine({
    runtime, clock, log: createLog({ component: 't', level: 'info', write: (line) => { lines.push(line.slice(line.indexOf(' ') + 1)); } }),
    engine: (up, why) => { heard.push(up ? 'up' : why); if (up) abort.abort(); }, resync: () => Promise.resolve(), onEvent: () => undefined,
  }, abort.signal);
  while (!abort.signal.aborted) { await new Promise(setImmediate); clock.advance(1000); }
  await running;
  assert.equal(heard, ['away', 'away', 'away', 'elsewhere', 'up']);
  assert.equal(lines.map((line) => line.trim()), ['WARN  t: the engine does not answer; trying on why=away', 'WARN  t: the engine does not answer; trying on why=elsewhere', 'INFO  t: the engine answers']);
});

test.run();
