import { createPortableEngine } from '../../../agent/net/tcp-portable.ts';
import { createRawEngine } from '../../../agent/net/tcp-raw.ts';
import { systemClock } from '../../../shared/clock.ts';
import { tcpEngineContract } from '../../contract/tcp-engine.ts';

if (!('deno' in process.versions)) tcpEngineContract('raw', () => createRawEngine(systemClock));
tcpEngineContract('portable', () => createPortableEngine());
