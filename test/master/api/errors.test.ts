import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMap, configMaps, openLab, pods, type Lab } from './support.ts';

const test = suite<{ lab: Lab }>('errors');

test.before(async (context) => { context.lab = await openLab(); });
test.after(({ lab }) => lab.close());

const yaml = { 'content-type': 'application/yaml' };

/** Method, path, body, headers → code, reason, message. */
const cases: readonly [string, string, unknown, Record<string, string>, number, string, string | RegExp][] = [
  ['GET', '/api/v1/nowhere', undefined, {}, 404, 'NotFound', 'the server could not find the requested resource'],
  ['GET', '/apis/nowhere.io/v1', undefined, {}, 404, 'NotFound', 'the server could not find the requested resource'],
  ['GET', '/else', undefined, {}, 404, 'NotFound', 'the server could not find the requested resource'],
  ['GET', '/api/v1/namespaces/default/nodes', undefined, {}, 404, 'NotFound', 'the server could not find the requested resource'],
  ['GET', `${configMaps}/a/status`, undefined, {}, 404, 'NotFound', 'the server could not find the requested resource'],
  ['GET', `${configMaps}/missing`, undefined, {}, 404, 'NotFound', 'configmaps "missing" not found'],
  ['PUT', configMaps, configMap('a'), {}, 405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource'],
  ['POST', `${configMaps}/a`, configMap('a'), {}, 405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource'],
  ['POST', '/api/v1/configmaps', configMap('a'), {}, 405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource'],
  ['PUT', `${configMaps}/missing`, configMap('missing'), {}, 404, 'NotFound', 'configmaps "missing" not found'],
  ['PUT', `${configMaps}/a`, configMap('b'), {}, 400, 'BadRequest', 'the name of the object (b) does not match the name on the URL (a)'],
  ['POST', configMaps, { ...configMap('x'), metadata: { name: 'x', namespace: 'other' } }, {}, 400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request'],
  ['POST', configMaps, configMap('a'), {}, 409, 'AlreadyExists', 'configmaps "a" already exists'],
  ['POST', configMaps, configMap('A_b'), {}, 422, 'Invalid', /^ConfigMap "A_b" is invalid: metadata\.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of/],
  ['POST', configMaps, {}, {}, 422, 'Invalid', 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'],
  ['POST', configMaps, '', {}, 400, 'BadRequest', 'the object provided is unrecognized (must be of type ConfigMap): couldn\'t get version/kind; json parse error: unexpected end of JSON input (<empty>)'],
  ['POST', configMaps, 'hello', {}, 400, 'BadRequest', 'the object provided is unrecognized (must be of type ConfigMap): couldn\'t get version/kind; json parse error: invalid character \'h\' looking for beginning of value (68656c6c6f)'],
  ['POST', configMaps, '{"a":1,}', {}, 400, 'BadRequest', 'the object provided is unrecognized (must be of type ConfigMap): couldn\'t get version/kind; json parse error: invalid character \'}\' looking for beginning of object key string ({"a":1,})'],
  ['POST', configMaps, '[]', {}, 400, 'BadRequest', /json: cannot unmarshal array into Go value/],
  ['POST', configMaps, '{"kind":3}', {}, 400, 'BadRequest', /json: cannot unmarshal number into Go struct field \.kind of type string/],
  ['POST', configMaps, 'a: [', yaml, 400, 'BadRequest', /^the object provided is unrecognized \(must be of type ConfigMap\): error parsing YAML/],
  ['POST', configMaps, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' } }, {}, 400, 'BadRequest', /^Secret in version "v1" cannot be handled as a ConfigMap: /],
  ['POST', configMaps, { apiVersion: 'v2', kind: 'ConfigMap', metadata: { name: 'x' } }, {}, 400, 'BadRequest', 'the API version in the data (v2) does not match the expected API version (v1)'],
  ['POST', configMaps, { ...configMap('x'), data: { a: 1 } }, {}, 400, 'BadRequest', 'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data.a of type string'],
  ['POST', configMaps, 'x', { 'content-type': 'text/plain' }, 415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf'],
  ['PATCH', `${configMaps}/a`, '{}', { 'content-type': 'application/json' }, 415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml'],
  ['POST', `${configMaps}?dryRun=Some`, configMap('x'), {}, 422, 'Invalid', 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'],
  ['POST', `${configMaps}?fieldValidation=Maybe`, configMap('x'), {}, 422, 'Invalid', 'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Maybe": supported values: "", "Ignore", "Strict", "Warn"'],
  ['DELETE', `${configMaps}/a`, { propagationPolicy: 'Never' }, {}, 422, 'Invalid', 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Never": supported values: "Background", "Foreground", "Orphan"'],
  ['DELETE', `${configMaps}/a`, { kind: 'Pod' }, {}, 400, 'BadRequest', 'decoded object cannot be converted to DeleteOptions'],
  ['GET', `${pods}?watch=1&resourceVersionMatch=Exact`, undefined, {}, 422, 'Invalid', /resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided/],
  ['GET', configMaps, undefined, { accept: 'application/vnd.kubernetes.protobuf' }, 406, 'NotAcceptable', 'only the following media types are accepted: application/json, application/yaml'],
  ['GET', '/api/v1/namespaces/%zz/configmaps', undefined, {}, 400, 'BadRequest', /invalid URL escape/],
];

test('are Status objects in Kubernetes\' words', async ({ lab }) => {
  await lab.client.post(configMaps, configMap('a'));
  for (const [method, path, body, headers, code, reason, message] of cases) {
    const { json, text, ...answer } = await lab.client.send(method, path, body, headers);
    const what = `${method} ${path} ${JSON.stringify(body)}: ${text}`;
    assert.is(answer.code, code, what);
    assert.equal([json.kind, json.apiVersion, json.status, json.code, json.reason], ['Status', 'v1', 'Failure', code, reason], what);
    if (typeof message === 'string') assert.is(json.message, message);
    else assert.match(json.message, message);
  }
});

test('details name the object', async ({ lab }) => {
  const { json } = await lab.client.get('/apis/coordination.k8s.io/v1/namespaces/default/leases/x');
  assert.equal(json.details, { name: 'x', group: 'coordination.k8s.io', kind: 'leases' });
});

test('a body of more than 3 MiB is 413, and the connection ends', async ({ lab }) => {
  const { json, code, headers } = await lab.client.post(configMaps, configMap('big', { x: 'y'.repeat(3 * 1024 * 1024) }));
  assert.is(code, 413);
  assert.is(json.message, 'Request entity too large: limit is 3145728');
  assert.is(json.reason, 'RequestEntityTooLarge');
  assert.is(headers['connection'], 'close');
});

test('HEAD has a get\'s head and no body', async ({ lab }) => {
  await lab.client.post(configMaps, configMap('a'));
  const { code, bytes } = await lab.client.send('HEAD', `${configMaps}/a`);
  assert.equal([code, bytes.length], [200, 0]);
});

test.run();
