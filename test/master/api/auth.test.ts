import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { basicAuthorizer } from '../../../master/api/authorize.ts';
import { clientCertificate, Client, configMap, configMaps, makeCertificates, openLab, type Certificates, type Lab } from './support.ts';

const test = suite<{ lab: Lab; certificates: Certificates }>('who, and what they may');

const tokens = { authenticate: async (token: string) => (token === 'good' ? { name: 'alice', uid: '1', groups: ['dev'] } : undefined) };

test.before(async (context) => {
  context.certificates = await makeCertificates();
  context.lab = await openLab({ certificates: context.certificates, authorizer: basicAuthorizer, tokens });
});
test.after(({ lab }) => lab.close());

async function as({ lab, certificates }: { lab: Lab; certificates: Certificates }, name: string, ...groups: string[]): Promise<Client> {
  return new Client(lab.port, certificates.authority.certificate, await clientCertificate(certificates.authority, name, groups));
}

const whoAmI = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
const reviews = '/apis/authentication.k8s.io/v1/selfsubjectreviews';

test('strangers see whether the server lives, and no more', async ({ lab }) => {
  for (const path of ['/healthz', '/livez', '/readyz', '/version', '/readyz?verbose']) assert.is((await lab.client.get(path)).code, 200, path);
  const { json, code } = await lab.client.get(configMaps);
  assert.is(code, 403);
  assert.is(json.message, 'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "default"');
  assert.equal(json.details, { kind: 'configmaps' });
  assert.is((await lab.client.get('/metrics')).json.message, 'forbidden: User "system:anonymous" cannot get path "/metrics"');
});

test('a certificate names the user and the groups', async (context) => {
  const admin = await as(context, 'root', 'system:masters', 'ops');
  const { json } = await admin.post(reviews, whoAmI);
  assert.equal(json.status.userInfo, { username: 'root', groups: ['system:masters', 'ops', 'system:authenticated'] });
  assert.is((await admin.post(configMaps, configMap('a'))).code, 201);
});

test('a certificate of another authority is nobody\'s', async ({ lab, certificates }) => {
  const other = await makeCertificates();
  const client = new Client(lab.port, certificates.authority.certificate, await clientCertificate(other.authority, 'root', ['system:masters']));
  assert.is((await client.get(configMaps)).code, 403);
});

test('a token is asked about; a bad one is 401', async ({ lab }) => {
  const good = await lab.client.post(reviews, whoAmI, { authorization: 'Bearer good' });
  assert.equal(good.json.status.userInfo, { username: 'alice', uid: '1', groups: ['dev', 'system:authenticated'] });
  const { json, code } = await lab.client.get('/healthz', { authorization: 'Bearer bad' });
  assert.is(code, 401);
  assert.equal(json, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: 'Unauthorized', reason: 'Unauthorized', code: 401 });
});

test('refusals name verb, resource, group and place', async ({ lab }) => {
  const alice = { authorization: 'Bearer good' };
  const cases: readonly [string, string, string][] = [
    ['GET', `${configMaps}/a`, 'configmaps "a" is forbidden: User "alice" cannot get resource "configmaps" in API group "" in the namespace "default"'],
    ['GET', '/api/v1/nodes', 'nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope'],
    ['POST', '/api/v1/namespaces/default/pods/a/eviction', 'pods "a" is forbidden: User "alice" cannot create resource "pods/eviction" in API group "" in the namespace "default"'],
    ['GET', '/apis/coordination.k8s.io/v1/namespaces/default/leases?watch=1', 'leases.coordination.k8s.io is forbidden: User "alice" cannot watch resource "leases" in API group "coordination.k8s.io" in the namespace "default"'],
    ['DELETE', configMaps, 'configmaps is forbidden: User "alice" cannot deletecollection resource "configmaps" in API group "" in the namespace "default"'],
  ];
  for (const [method, path, message] of cases) {
    const { json, code } = await lab.client.send(method, path, undefined, alice);
    assert.equal([code, json.message], [403, message]);
  }
  assert.is((await lab.client.get('/api/v1', alice)).code, 200, 'discovery is for everybody known');
});

test('a node has itself, its lease and events', async (context) => {
  const node = await as(context, 'system:node:n1', 'system:nodes');
  const document = (name: string) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
  assert.is((await node.post('/api/v1/nodes', document('n1'))).code, 201);
  assert.is((await node.get('/api/v1/nodes/n1')).code, 200);
  assert.is((await node.patch('/api/v1/nodes/n1/status', 'merge-patch+json', { status: {} })).code, 200);
  assert.is((await node.get('/api/v1/nodes/n2')).code, 403);
  assert.is((await node.get('/api/v1/nodes')).code, 403);
  assert.is((await node.get('/api/v1/namespaces/default/secrets')).code, 403);
  assert.is((await node.get('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1')).code, 404);
  assert.is((await node.get('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2')).code, 403);
});

test('users may ask what they may', async (context) => {
  const review = (resourceAttributes: object) => ({ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } });
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const admin = await as(context, 'root', 'system:masters');
  const yes = await admin.post(path, review({ verb: 'list', resource: 'pods', namespace: 'default' }));
  assert.equal([yes.code, yes.json.status], [201, { allowed: true }]);
  const no = await context.lab.client.post(path, review({ verb: 'list', resource: 'pods' }), { authorization: 'Bearer good' });
  assert.equal(no.json.status, { allowed: false });
  const rules = await admin.post('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace: 'default' } });
  assert.equal(rules.json.status.resourceRules[0].verbs, ['*']);
});

test('impersonation is for those who may; everything that is asked for is checked', async (context) => {
  const admin = await as(context, 'root', 'system:masters');
  const bob = { 'impersonate-user': 'bob', 'impersonate-group': 'dev' };
  const { json } = await admin.post(reviews, whoAmI, bob);
  assert.equal(json.status.userInfo, { username: 'bob', groups: ['dev', 'system:authenticated'] });
  assert.is((await admin.get(configMaps, bob)).code, 403);
  const refused = await context.lab.client.get(configMaps, { authorization: 'Bearer good', ...bob });
  assert.is(refused.json.message, 'users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope');
  const account = await admin.post(reviews, whoAmI, { 'impersonate-user': 'system:serviceaccount:default:bot' });
  assert.equal(account.json.status.userInfo.groups, ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated']);
  const extra = await admin.post(reviews, whoAmI, { ...bob, 'impersonate-extra-example.com%2fscopes': ['view', 'edit'] });
  assert.equal(extra.json.status.userInfo.extra, { 'example.com/scopes': ['view', 'edit'] });
  const groups = await admin.post(reviews, whoAmI, { ...bob, 'impersonate-group': ['CN=dev,OU=edge', 'ops'] });
  assert.equal(groups.json.status.userInfo.groups, ['CN=dev,OU=edge', 'ops', 'system:authenticated']);
  assert.is((await admin.post(reviews, whoAmI, { 'impersonate-extra-scopes': 'view' })).code, 400);
});

test.run();
