import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { askAgainMs, batches, nodeStep, objection, returnMs, silenceMs, type NodeProgress } from '../../master/upgrade-plan.ts';
import { architectureOf } from '../../shared/upgrade.ts';

const test = suite('upgrade plan');
const step = (phase: NodeProgress['phase'], silentMs: number, connected = true) => nodeStep({ phase, heardMs: 0, askedMs: 0 }, { nowMs: silentMs, limitMs: 60_000, connected });

test('a node that is silent is asked again, and given up after a while', () => {
  for (const phase of ['asked', 'fetching', 'checking'] as const) {
    assert.is(step(phase, askAgainMs - 1).type, 'wait');
    assert.is(step(phase, askAgainMs).type, 'ask');
    assert.is(step(phase, askAgainMs, false).type, 'wait');
    assert.is(step(phase, silenceMs).type, 'fail');
  }
});

test('one on trial is left alone until its limit and the way back have passed', () => {
  assert.is(step('trying', 60_000 + returnMs - 1, false).type, 'wait');
  assert.is(step('trying', 60_000 + returnMs, false).type, 'fail');
  assert.is(step('trying', 60_000 + returnMs, true).type, 'fail');
});

test('what has ended has ended', () => {
  assert.is(step('done', 1e9).type, 'over');
  assert.is(step('failed', 1e9, false).type, 'over');
});

test('nodes that cannot be upgraded are named with the reason', () => {
  assert.match(objection({ node: 'a', agent: undefined }, 'amd64') ?? '', /not connected/);
  assert.match(objection({ node: 'a', agent: { version: '1', upgrades: undefined } }, 'amd64') ?? '', /not a packaged one/);
  assert.match(objection({ node: 'a', agent: { version: '1', upgrades: 'arm64' } }, 'amd64') ?? '', /is arm64, and the program is for amd64/);
  assert.is(objection({ node: 'a', agent: { version: '1', upgrades: 'arm64' } }, 'arm64'), undefined);
  assert.is(objection({ node: 'a', agent: { version: '1', upgrades: 'arm64' } }, undefined), undefined);
});

test('batches', () => {
  assert.equal(batches([1, 2, 3, 4, 5], 2), [[1, 2], [3, 4], [5]]);
  assert.equal(batches([], 2), []);
});

test('architectures are read from ELF headers', () => {
  const elf = (machine: number): Uint8Array => Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, ...Array.from({ length: 14 }, () => 0), machine & 255, machine >> 8]);
  assert.equal([0x3e, 0xb7, 0x28, 0x08].map((machine) => architectureOf(elf(machine))), ['amd64', 'arm64', 'arm', 'unknown']);
  assert.is(architectureOf(Buffer.from('#!/bin/sh\nexit 1\n# longer')), undefined);
  assert.is(architectureOf(Buffer.from('x')), undefined);
});

test.run();
