import './v8.mjs';
import './memory/drop.mjs';
import '../main.ts';
