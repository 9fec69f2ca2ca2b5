import { guestbook } from './guestbook.ts';

guestbook({ name: 'gb' });
