import { writeIdentity, type Identity } from '../../agent/identity.ts';

/** Writes two identities in turn, for ever: a process to be killed. Arguments: directory, both as JSON. */
const [directory = '', first = '', second = ''] = process.argv.slice(2);
const both = [JSON.parse(first), JSON.parse(second)] as readonly [Identity, Identity];
process.stdout.write('.');
for (let i = 0; ; i++) await writeIdentity(directory, both[i % 2 as 0 | 1]);
