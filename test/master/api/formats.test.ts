import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { duplicateKeys, jsonProblem } from '../../../master/api/json.ts';
import { negotiate } from '../../../master/api/negotiate.ts';
import { decodeProtobuf } from '../../../master/api/protobuf.ts';
import { decodeContinue, encodeContinue } from '../../../master/api/continue.ts';
import { configMap, configMaps, openLab, type Lab } from './support.ts';

const test = suite<{ lab: Lab }>('formats');

test.before(async (context) => { context.lab = await openLab(); });
test.after(({ lab }) => lab.close());

test('broken JSON is described as Go describes it', () => {
  const cases: readonly [string, string][] = [
    ['', 'unexpected end of JSON input'],
    ['{', 'unexpected end of JSON input'],
    ['{"a"}', "invalid character '}' after object key"],
    ['{"a":1 "b"}', "invalid character '\"' after object key:value pair"],
    ['[1 2]', "invalid character '2' after array element"],
    ['{a:1}', "invalid character 'a' looking for beginning of object key string"],
    ['nul', 'unexpected end of JSON input'],
    ['nulx', "invalid character 'x' in literal null (expecting 'l')"],
    ['"a\nb"', "invalid character '\\n' in string literal"],
    ['"\\x"', "invalid character 'x' in string escape code"],
    ['"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"],
    ['-x', "invalid character 'x' in numeric literal"],
    ['1.x', "invalid character 'x' after decimal point in numeric literal"],
    ['1ex', "invalid character 'x' in exponent of numeric literal"],
    ['{} x', "invalid character 'x' after top-level value"],
    ["'", "invalid character '\\'' looking for beginning of value"],
  ];
  for (const [text, problem] of cases) assert.is(jsonProblem(text), problem, text);
  for (const text of ['{}', ' [1, -0.5e+3, "\\u00e9\\n", true, false, null, {"a": [{}]}] ', '0']) assert.is(jsonProblem(text), undefined, text);
});

test('repeated keys are found wherever they are', () => {
  const text = '{"a":{"b":1,"c":[{"d":1,"d":2}],"b":"x:y\\""},"e":{},"e":{"f":1}}';
  assert.equal(duplicateKeys(text, JSON.parse(text)), ['a.c[0].d', 'a.b', 'e']);
  assert.equal(duplicateKeys('{"a":"b:c","d":[1]}', { a: 'b:c', d: [1] }), []);
});

test('Accept: the first form that is served', () => {
  const as = (accept: string): string => { const { as: form, media, version } = negotiate(accept, true); return `${form} ${media} ${version}`; };
  assert.is(as(''), 'object json v1');
  assert.is(as('*/*'), 'object json v1');
  assert.is(as('application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json'), 'table json v1');
  assert.is(as('application/json;as=Table;v=v1beta1;g=meta.k8s.io'), 'table json v1beta1');
  assert.is(as('application/vnd.kubernetes.protobuf,application/json'), 'object json v1');
  assert.is(as('application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json'), 'object json v1');
  assert.is(as('application/yaml'), 'object yaml v1');
  assert.is(as('application/json;q=0.1, application/yaml;q=0.9'), 'object yaml v1');
  assert.is(as('application/json;as=Chair;v=v1;g=meta.k8s.io,application/json'), 'object json v1');
  assert.throws(() => as('text/html'), /only the following media types are accepted/);
});

test('continue tokens come back as they went', () => {
  for (const token of [{ revision: 7, after: 'default/web' }, { revision: -1, after: 'ä' }]) assert.equal(decodeContinue(encodeContinue(token)), token);
});

/** What kubectl 1.32 sends for `create configmap a --from-literal=x=y`. */
const fromKubectl = Buffer.from('6b3873000a0f0a0276311209436f6e6669674d6170121b0a110a016112001a0022002a0032003800420012060a01781201791a002200', 'hex');

test('protobuf documents are read as their JSON', async ({ lab }) => {
  assert.equal(decodeProtobuf(fromKubectl), { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { x: 'y' } });
  const answer = await lab.client.post(configMaps, fromKubectl, { 'content-type': 'application/vnd.kubernetes.protobuf', accept: 'application/vnd.kubernetes.protobuf,application/json' });
  assert.is(answer.code, 201, answer.text);
  assert.equal(answer.json.data, { x: 'y' });
  for (let end = 0; end < fromKubectl.length; end++) {
    const cut = await lab.client.post(configMaps, fromKubectl.subarray(0, end), { 'content-type': 'application/vnd.kubernetes.protobuf' });
    assert.ok(cut.code >= 400 && cut.code < 500, `${end}: ${cut.text}`);
  }
});

test('tables carry as much of the object as is asked', async ({ lab }) => {
  await lab.client.post(configMaps, configMap('t', { x: 'y' }));
  const table = async (query: string) => (await lab.client.get(`${configMaps}${query}`, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' })).json;
  const plain = await table('');
  assert.equal([plain.kind, plain.apiVersion], ['Table', 'meta.k8s.io/v1']);
  assert.equal(plain.columnDefinitions[0], { name: 'Name', type: 'string', format: 'name', description: plain.columnDefinitions[0].description, priority: 0 });
  const row = plain.rows.find((one: { cells: string[] }) => one.cells[0] === 't');
  assert.equal([row.object.kind, row.object.metadata.name, row.object.data], ['PartialObjectMetadata', 't', undefined]);
  assert.is((await table('?includeObject=None')).rows[0].object, undefined);
  assert.is((await table('?includeObject=Object&fieldSelector=metadata.name%3Dt')).rows[0].object.data.x, 'y');
  assert.is((await table('?includeObject=All')).code, 400);
  assert.is((await table('?limit=1')).metadata.remainingItemCount, (await table('')).rows.length - 1);
});

test.run();
