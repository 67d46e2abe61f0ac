// The pages that are photographed: a step summary as GitHub shows it, its log page, a terminal.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import MarkdownIt from 'markdown-it';
import { full as emoji } from 'markdown-it-emoji';
import alerts from 'markdown-it-github-alerts';

const require = createRequire(import.meta.url);
const packaged = (name, file) => path.join(path.dirname(require.resolve(`${name}/package.json`)), file);
const packagedText = (name, file) => fs.readFileSync(packaged(name, file), 'utf8');

// GitHub's Markdown: tables, bare links, HTML (which GitHub cleans), alerts, emoji by name, mermaid.
const markdown = new MarkdownIt({ html: true, linkify: true }).use(emoji).use(alerts);
const fence = markdown.renderer.rules.fence;
markdown.renderer.rules.fence = (tokens, index, ...rest) =>
    tokens[index].info.trim() === 'mermaid'
        ? `<pre class="mermaid">${markdown.utils.escapeHtml(tokens[index].content)}</pre>`
        : fence(tokens, index, ...rest);

/** The sources of a document's diagrams. */
export const diagrams = (text) =>
    [...text.matchAll(/^```mermaid\n([\s\S]*?)\n```$/gm)].map((found) => found[1]);

export const summary = (text) => `<article class="markdown-body">${markdown.render(text)}</article>`;

/** Draws a page's diagrams. Fails with mermaid's words where one is wrong. */
export async function withDiagrams(page, theme) {
    if (!(await page.$('.mermaid'))) return;
    await page.addScriptTag({ path: packaged('mermaid', 'dist/mermaid.min.js') });
    await page.evaluate(async (theme) => {
        globalThis.mermaid.initialize({ startOnLoad: false, theme: theme === 'dark' ? 'dark' : 'default' });
        await globalThis.mermaid.run({ querySelector: '.mermaid' });
    }, theme);
}

// ---- GitHub's log page ----

const escaped = (text) => text.replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[sign]);
const decoded = (text) => text.replaceAll('%0A', '\n').replaceAll('%0D', '\r').replaceAll('%25', '%');

/** What a person sees of a raw log. Groups are closed but for those whose titles begin with an `unfold`. */
export function log(text, { unfold = [] } = {}) {
    const rows = [];
    const row = (line, kind = '') => rows.push({ line, kind });
    let open = null;
    let guard = null;
    for (const raw of text.replace(/\n$/, '').split('\n')) {
        const command = raw.match(/^::([a-z-]+)(?: title=([^:]*))?::(.*)$/);
        if (guard ? raw === `::${guard}::` : command?.[1] === 'stop-commands') {
            guard = guard ? null : command[3];
        } else if (guard || !command) {
            if (!open) row(raw);
            else if (open.unfolded) row(raw, 'inside');
        } else if (command[1] === 'group') {
            open = { unfolded: unfold.some((start) => command[3].includes(start)) };
            row(decoded(command[3]), open.unfolded ? 'open' : 'closed');
        } else if (command[1] === 'endgroup') {
            open = null;
        } else if (['error', 'warning', 'notice'].includes(command[1])) {
            const word = command[1][0].toUpperCase() + command[1].slice(1);
            decoded(command[3]).split('\n').forEach((line, number) =>
                row(number ? line : `${word}: ${line}`, command[1]));
        }
    }
    const html = rows.map(({ line, kind }, number) =>
        `<div class="row ${kind}"><span class="number">${number + 1}</span><span class="text">${escaped(line)}</span></div>`);
    return `<div class="log">${html.join('\n')}</div>`;
}

/** A terminal: lines that begin with `$ ` or `# ` are typed. */
export function terminal(text) {
    const lines = text.replace(/\n$/, '').split('\n').map((line) =>
        /^[$#] /.test(line) ? `<b>${escaped(line)}</b>` : escaped(line));
    return `<pre class="terminal">${lines.join('\n')}</pre>`;
}

export const styles = (theme) => `<style>
${packagedText('github-markdown-css', `github-markdown-${theme}.css`)}
${fs.readFileSync(path.join(import.meta.dirname, 'page.css'), 'utf8')}
</style>`;
