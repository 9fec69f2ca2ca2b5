import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { asTyped, flagName, refusedFlag, typedFlags } from '../../shared/flags.ts';

const test = suite('flags');
const refusal = (message: string): Error => new Error(message);

test('values are as they were typed', () => {
  assert.equal(typedFlags({ port: 6443, nodeName: 'a', json: true, '--': [] }, [], refusal), { port: '6443', nodeName: 'a', json: true, '--': [] });
  assert.is(flagName('nodeMonitorGracePeriod'), '--node-monitor-grace-period');
});

test('a flag that comes twice is refused, unless it may', () => {
  assert.equal(typedFlags({ tlsSan: ['a', 'b'] }, ['tlsSan'], refusal), { tlsSan: ['a', 'b'] });
  assert.throws(() => typedFlags({ dataDir: ['a', 'b'] }, [], refusal), (error: Error) => error.message === '--data-dir: is given more than once');
});

test('a number is told as it was typed, and an empty value is none', () => {
  const of = (options: Record<string, unknown>, ...argv: string[]) => asTyped(options, ['node', 'main.js', ...argv], refusal);
  assert.equal(of({ nodeName: 7, json: true }, '--json', '--node-name', '007'), { nodeName: '007' });
  assert.equal(of({ port: 16 }, '--port=0x10'), { port: '0x10' });
  assert.equal(of({ port: -1 }, '-x'), { port: '-1' });
  for (const argv of [['--node-name', ''], ['--node-name=']]) assert.throws(() => of({ nodeName: 0 }, ...argv), (error: Error) => error.message === '--node-name: needs a value');
});

test('what is refused is shown as it was given', () => {
  assert.is(refusedFlag('port', 'must be a port number', 'abc'), '--port: must be a port number, not "abc"');
  assert.is(refusedFlag('port', 'Invalid type', false), '--port: needs a value');
});

test.run();
