import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The part of etcd's v3 API that creating a key needs; message and field numbers are etcd's. */
const proto = `syntax = "proto3";
package etcdserverpb;
message Compare { int32 result = 1; int32 target = 2; bytes key = 3; int64 create_revision = 5; }
message PutRequest { bytes key = 1; bytes value = 2; }
message RequestOp { PutRequest request_put = 2; }
message TxnRequest { repeated Compare compare = 1; repeated RequestOp success = 2; }
message TxnResponse { bool succeeded = 2; }
service KV { rpc Txn(TxnRequest) returns (TxnResponse) {} }
`;

interface Client { txn(request: unknown, done: (error: Error | null, answer: { succeeded: boolean }) => void): void; close(): void }

/** An etcd of Debian's on loopback, on the same kind of disk as the master's store. */
export interface Etcd {
  /** One connection; resolves when the create transaction is committed. */
  client(): { create(key: string, value: Buffer): Promise<void>; close(): void };
  stop(): Promise<void>;
}

/** Starts etcd, installing Debian's package if it is missing. @throws when it cannot be had */
export async function startEtcd(): Promise<Etcd> {
  if (!existsSync('/usr/bin/etcd')) execFileSync('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', 'etcd-server'], { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  const directory = mkdtempSync(join(tmpdir(), 'etcd-bench-'));
  const url = 'http://127.0.0.1:12379';
  const child: ChildProcess = spawn('/usr/bin/etcd', ['--data-dir', join(directory, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url, '--listen-peer-urls', 'http://127.0.0.1:12380', '--log-level', 'error'], { stdio: 'ignore' });
  for (let tries = 0; ; tries++) {
    if (await fetch(`${url}/health`).then((answer) => answer.ok, () => false)) break;
    if (tries > 100) throw new Error('etcd does not answer');
    await new Promise((wake) => setTimeout(wake, 100));
  }
  const makeClient = loadClient(directory);
  return {
    client() {
      const client = makeClient();
      return {
        create: (key, value) => new Promise((resolve, reject) => {
          const name = Buffer.from(key);
          client.txn({ compare: [{ result: 0, target: 1, key: name, create_revision: 0 }], success: [{ request_put: { key: name, value } }] },
            (error, answer) => (error ? reject(error) : answer.succeeded ? resolve() : reject(new Error(`${key} exists`))));
        }),
        close: () => client.close(),
      };
    },
    stop: () => new Promise((resolve) => { child.once('exit', () => { rmSync(directory, { recursive: true, force: true }); resolve(); }); child.kill('SIGKILL'); }),
  };
}

/** Docker's client library brings gRPC along; nothing but this bench uses it. */
function loadClient(directory: string): () => Client {
  const require = createRequire(createRequire(import.meta.url).resolve('dockerode'));
  const grpc = require('@grpc/grpc-js') as { credentials: { createInsecure(): unknown }; loadPackageDefinition(definition: unknown): unknown };
  const loader = require('@grpc/proto-loader') as { loadSync(file: string, options: unknown): unknown };
  const file = join(directory, 'kv.proto');
  writeFileSync(file, proto);
  const loaded = grpc.loadPackageDefinition(loader.loadSync(file, { keepCase: true })) as { etcdserverpb: { KV: new (address: string, credentials: unknown, options: unknown) => Client } };
  return () => new loaded.etcdserverpb.KV('127.0.0.1:12379', grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
}
