import { mkdir, readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { plainLine, plainReason } from '../../shared/plain-reason.ts';

const test = suite('plain reason');
const failure = (attempt: Promise<unknown>): Promise<Error> => attempt.then(() => { throw new Error('nothing was thrown'); }, (error: Error) => error);

test('the system\'s errors, in words and with the path', async () => {
  assert.is(plainReason(await failure(readFile('/nowhere/x'))), 'it does not exist');
  assert.is(plainLine(await failure(readFile('/nowhere/x'))), 'cannot use /nowhere/x: it does not exist');
  assert.is(plainLine(await failure(mkdir('/dev/null'))), 'cannot use /dev/null: it is a file, not a directory');
  assert.is(plainReason(await failure(mkdir('/dev/null/x'))), 'a part of its path is a file, not a directory');
});

test('others say it themselves, in one line', () => {
  assert.is(plainReason(new Error('this\nthat')), 'this');
  assert.is(plainLine(new Error('this\n  that\n')), 'this that');
  assert.is(plainLine(Object.assign(new Error('connect ENOENT /s'), { code: 'ENOENT', syscall: 'connect', path: '/s' })), 'connect ENOENT /s');
});

test.run();
