import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bootstrapStorage } from '../../master/bootstrap-storage.ts';
import { ConfigError, readMasterConfig } from '../../master/config.ts';
import { isDefaultClass, storageClasses } from '../../shared/kinds/storageclass.ts';
import { Cluster } from './controllers/cluster.ts';

const test = suite('bootstrap storage');

test('a default class is made once, and only where there is none', async () => {
  const { registry } = new Cluster();
  const names = (): string[] => registry.all(storageClasses).map((one) => `${one.metadata.name}${isDefaultClass(one) ? ' (default)' : ''}`);
  await bootstrapStorage(registry, 'none');
  assert.equal(names(), []);
  for (let start = 0; start < 2; start++) await bootstrapStorage(registry, 'local-path');
  assert.equal(names(), ['local-path (default)']);
  await bootstrapStorage(registry, 'other');
  assert.equal(names(), ['local-path (default)']);
  await registry.modify(storageClasses, '', 'local-path', (current) => ({ ...current, metadata: { ...current.metadata, annotations: {} } }));
  await bootstrapStorage(registry, 'local-path');
  assert.equal(names(), ['local-path'], 'what somebody made of it stays');
});

test('the flag is a name', () => {
  assert.equal([readMasterConfig({}).defaultStorageClass, readMasterConfig({ defaultStorageClass: 'none' }).defaultStorageClass], ['local-path', 'none']);
  assert.throws(() => readMasterConfig({ defaultStorageClass: 'Not a name' }), (error: unknown) => error instanceof ConfigError && error.message.startsWith('--default-storage-class: must be'));
});

test.run();
