import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clients, startCluster, type Cluster, type Kubectl } from './kubectl-support.ts';
import { until } from './lab.ts';

/** Service accounts, tokens and roles as people use them, with real kubectls against a real master. */
const test = suite('kubectl auth');
let cluster: Cluster;
test.before(async () => { cluster = await startCluster(); });
test.after(() => cluster.down());

const lines = (text: string): string[] => text.trimEnd().split('\n').map((line) => line.trimEnd());

/** The server and authority alone: what a bearer of a token needs. `auth can-i` asks with status 1 for "no". */
async function bearer(kubectl: Kubectl, token: string): Promise<(...args: string[]) => Promise<[number, string]>> {
  const { clusters } = JSON.parse(await kubectl.ok('config', 'view', '--raw', '-o', 'json')) as { clusters: unknown[] };
  const config = { apiVersion: 'v1', kind: 'Config', clusters, users: [{ name: 'u', user: { token } }], contexts: [{ name: 'c', context: { cluster: 'wherry', user: 'u' } }], 'current-context': 'c' };
  const file = `bearer-${token.length}-${token.slice(-8)}.json`;
  await kubectl.write(file, config);
  return async (...args) => {
    const { code, stdout, stderr } = await kubectl.run([...args, '--kubeconfig', file]);
    return [code, (stdout + stderr).trim()];
  };
}

/** Runs the master's own program beside it. */
async function wherry(...args: string[]): Promise<string> {
  const { KUBECONFIG: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(new URL('../../master/main.js', import.meta.url)), ...args, '--data-dir', join(cluster.directory, 'master')], { env });
  return stdout;
}

test('a rotation of the service accounts\' key, with the master running and without: tokens of before are good while it says so', async () => {
  const k = await cluster.client('kubectl-1.32', 'rotation');
  await k.ok('create', 'serviceaccount', 'robot');
  const made: string[] = [];
  const create = async (): Promise<void> => { made.push((await k.ok('create', 'token', 'robot')).trim()); };
  const good = async (): Promise<boolean[]> => Promise.all(made.map(async (token) => (await (await bearer(k, token))('auth', 'whoami'))[0] === 0));
  const published = async (): Promise<string[]> => (JSON.parse(await k.ok('get', '--raw', '/openid/v1/jwks')) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
  const kidOf = (token: string): string => (JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { kid: string }).kid;
  await create();
  const said = await wherry('account-key', 'rotate', '--keep', '30d');
  await create();
  const [first, second] = made.map(kidOf);
  assert.match(said, new RegExp(`^service accounts' tokens are signed with key ${second} from now on\ntokens of key ${first} are good until \\S+Z\n$`));
  assert.equal([await good(), await published()], [[true, true], [second, first]]);
  await cluster.kill();
  await wherry('account-key', 'rotate');
  await cluster.start();
  await create();
  assert.equal([await good(), await published()], [[true, true, true], [kidOf(made[2]!), second, first]]);
  await wherry('account-key', 'rotate', '--keep', '0');
  await create();
  assert.equal([await good(), await published()], [[true, true, false, true], [kidOf(made[3]!), second, first]]);
  const wrong = await wherry('account-key', 'rotate', '--keep', 'long').then(() => '', (error: { stderr: string }) => error.stderr);
  assert.is(wrong, 'wherry: --keep: "long" is no duration such as 30m, 24h or 7d\n');
});

for (const name of clients) {
  test(`${name}: roles, bindings, and whether one may`, async () => {
    const k = await cluster.client(name, `roles-${name.replace('kubectl-', 'v').replace('.', '')}`);
    const { namespace } = k;
    const robot = `system:serviceaccount:${namespace}:robot`;
    await k.ok('create', 'serviceaccount', 'robot');
    assert.is(await k.ok('create', 'role', 'reader', '--verb=get,list,watch', '--resource=pods,pods/log'), 'role.rbac.authorization.k8s.io/reader created\n');
    assert.is(await k.ok('create', 'rolebinding', 'readers', '--role=reader', `--serviceaccount=${namespace}:robot`), 'rolebinding.rbac.authorization.k8s.io/readers created\n');
    assert.is(await k.ok('create', 'clusterrole', `nodes-${namespace}`, '--verb=get,list', '--resource=nodes'), `clusterrole.rbac.authorization.k8s.io/nodes-${namespace} created\n`);
    assert.is(await k.ok('create', 'clusterrolebinding', `nodes-${namespace}`, `--clusterrole=nodes-${namespace}`, `--serviceaccount=${namespace}:robot`), `clusterrolebinding.rbac.authorization.k8s.io/nodes-${namespace} created\n`);
    const mayI = async (...question: string[]): Promise<string> => (await k.run(['auth', 'can-i', ...question, '--as', robot])).stdout.trim().split(' ')[0]!;
    assert.equal([await mayI('list', 'pods'), await mayI('get', 'pods', '--subresource=log'), await mayI('delete', 'pods'), await mayI('list', 'secrets')], ['yes', 'yes', 'no', 'no']);
    assert.equal([await mayI('list', 'pods', '-A'), await mayI('list', 'nodes'), await mayI('get', '/version'), await mayI('get', '/metrics')], ['no', 'yes', 'yes', 'no']);
    const table = await k.ok('auth', 'can-i', '--list', '--as', robot);
    assert.match(table, /pods\s+\[\]\s+\[\]\s+\[get list watch\]/);
    assert.match(await k.ok('get', 'rolebinding', 'readers', '-o', 'wide'), new RegExp(`readers\\s+Role/reader\\s+\\S+\\s+${namespace}/robot`));
    const refused = await k.run(['get', 'secrets', '--as', robot]);
    assert.is(refused.stderr.trim(), `Error from server (Forbidden): secrets is forbidden: User "${robot}" cannot list resource "secrets" in API group "" in the namespace "${namespace}"`);
  });

  test(`${name}: nobody gives what they do not have`, async () => {
    const k = await cluster.client(name, `esc-${name.replace('kubectl-', 'v').replace('.', '')}`);
    await k.ok('create', 'rolebinding', 'admins', '--clusterrole=admin', '--user=alice');
    await until('admin has its rules', 30_000, async () => (await k.run(['auth', 'can-i', 'create', 'roles', '--as', 'alice'])).stdout.startsWith('yes'));
    await k.ok('create', 'role', 'fine', '--verb=get', '--resource=pods', '--as', 'alice');
    const { stderr } = await k.run(['create', 'role', 'more', '--verb=get', '--resource=leases.coordination.k8s.io,nodes', '--as', 'alice']);
    assert.is(stderr.trim(), ['Error from server (Forbidden): roles.rbac.authorization.k8s.io "more" is forbidden: user "alice" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:',
      '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}'].join('\n'));
    const bound = await k.run(['create', 'rolebinding', 'more', '--clusterrole=cluster-admin', '--user=bob', '--as', 'alice']);
    assert.match(bound.stderr, /rolebindings\.rbac\.authorization\.k8s\.io "more" is forbidden: user "alice" .* is attempting to grant RBAC permissions not currently held:\n\{APIGroups:\["\*"\], Resources:\["\*"\], Verbs:\["\*"\]\}/);
  });
}

for (const name of clients.filter((client) => client !== 'kubectl-1.20')) {
  test(`${name}: create token, and what it is worth`, async () => {
    const k = await cluster.client(name, `tokens-${name.replace('kubectl-', 'v').replace('.', '')}`);
    const { namespace } = k;
    await k.ok('create', 'serviceaccount', 'robot');
    await k.ok('create', 'rolebinding', 'viewers', '--clusterrole=view', `--serviceaccount=${namespace}:robot`);
    const token = (await k.ok('create', 'token', 'robot', '--duration=20m')).trim();
    const as = await bearer(k, token);
    const [, who] = await as('auth', 'whoami');
    assert.match(who, new RegExp(`Username\\s+system:serviceaccount:${namespace}:robot`));
    assert.match(who, new RegExp(`Groups\\s+\\[system:serviceaccounts system:serviceaccounts:${namespace} system:authenticated\\]`));
    assert.match(who, /Extra: authentication\.kubernetes\.io\/credential-id\s+\[JTI=/);
    assert.equal([(await as('get', 'configmaps', '-o', 'name'))[0], (await as('get', 'secrets'))[0]], [0, 1]);
    const [, discovery] = await as('get', '--raw', '/.well-known/openid-configuration');
    const { issuer, jwks_uri: keys } = JSON.parse(discovery) as { issuer: string; jwks_uri: string };
    assert.equal([issuer, new URL(keys).pathname], ['https://kubernetes.default.svc.cluster.local', '/openid/v1/jwks']);
    const [, jwks] = await as('get', '--raw', '/openid/v1/jwks');
    assert.is((JSON.parse(jwks) as { keys: { kid: string }[] }).keys[0]?.kid, (JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { kid: string }).kid);
    assert.match((await k.run(['create', 'token', 'nobody'])).stderr, /error: failed to create token: serviceaccounts "nobody" not found/);
    assert.match((await k.run(['create', 'token', 'robot', '--duration=1m'])).stderr, /spec\.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes/);
    await k.ok('create', 'secret', 'generic', 'anchor');
    const tied = await bearer(k, (await k.ok('create', 'token', 'robot', '--bound-object-kind=Secret', '--bound-object-name=anchor')).trim());
    assert.is((await tied('get', 'configmaps'))[0], 0);
    await k.ok('delete', 'secret', 'anchor');
    assert.match((await tied('get', 'configmaps'))[1], /You must be logged in to the server \(Unauthorized\)/);
    await k.ok('delete', 'serviceaccount', 'robot');
    assert.match((await as('get', 'configmaps'))[1], /Unauthorized/);
  });

  test(`${name}: a Secret of the type for tokens is filled, and goes with its account`, async () => {
    const k = await cluster.client(name, `secrets-${name.replace('kubectl-', 'v').replace('.', '')}`);
    await k.ok('create', 'serviceaccount', 'robot');
    await k.write('secret.yaml', 'apiVersion: v1\nkind: Secret\nmetadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}\ntype: kubernetes.io/service-account-token\n');
    await k.ok('create', '-f', 'secret.yaml');
    const base64 = await until('the secret has a token', 30_000, () => k.value('{.data.token}', 'secret', 'robot-token'));
    const as = await bearer(k, Buffer.from(base64, 'base64').toString());
    assert.match((await as('auth', 'whoami'))[1], new RegExp(`system:serviceaccount:${k.namespace}:robot`));
    assert.is(Buffer.from(await k.value('{.data.namespace}', 'secret', 'robot-token'), 'base64').toString(), k.namespace);
    assert.match(Buffer.from(await k.value('{.data.ca\\.crt}', 'secret', 'robot-token'), 'base64').toString(), /BEGIN CERTIFICATE/);
    assert.match(lines(await k.ok('describe', 'secret', 'robot-token')).join('\n'), /Type:\s+kubernetes\.io\/service-account-token/);
    await k.ok('delete', 'serviceaccount', 'robot');
    assert.match((await as('auth', 'whoami'))[1], /Unauthorized/);
    await until('the secret is gone', 30_000, async () => (await k.run(['get', 'secret', 'robot-token'])).code === 1);
  });
}

test.run();
