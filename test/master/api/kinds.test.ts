import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { kinds } from '../../../shared/kinds/index.ts';
import { pathOf, testKind } from '../../contract/kinds.ts';
import { clientCertificate, makeCertificates, openLab, type Json, type Lab } from './support.ts';

const test = suite<{ lab: Lab }>('every kind over HTTPS');

test.before(async (context) => {
  const certificates = await makeCertificates();
  const identity = await clientCertificate(certificates.authority, 'admin', ['system:masters']);
  context.lab = await openLab({ certificates, identity });
});
test.after(({ lab }) => lab.close());

for (const kind of kinds) test(`${kind.apiVersion} ${kind.kind}`, ({ lab }) => testKind(kind, lab.client));

test('discovery lists every kind where it is served', async ({ lab }) => {
  for (const kind of kinds) {
    const root = kind.group ? `/apis/${kind.group}/${kind.version}` : `/api/${kind.version}`;
    const { json } = await lab.client.get(root);
    const found = json['resources'].find((entry: Json) => entry['name'] === kind.plural);
    assert.is(found?.['kind'], kind.kind);
    assert.ok(pathOf(kind).startsWith(root));
  }
});

test.run();
