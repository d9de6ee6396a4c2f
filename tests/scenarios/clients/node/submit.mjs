// Submits with nodemailer what a job on the standard input says: files as they are, or messages that nodemailer composes
// and whose octets it leaves in a file, as its stream transport makes them.

import { readFileSync, writeFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const job = JSON.parse(readFileSync(0, 'utf8'));
const transport = nodemailer.createTransport({
    host: job.host,
    port: job.port,
    name: job.name,
    secure: job.implicit,
    requireTLS: !job.implicit,
    auth: job.login,
    tls: { ca: readFileSync(job.authority) },
    disableFileAccess: true,
    disableUrlAccess: true,
    pool: true,
    maxConnections: 1
});
const paper = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' });

// all that is random elsewhere is fixed, so that both transports make the same octets
function composed(mail, number) {
    return {
        from: { name: 'Jürgen Größe', address: mail.sender },
        to: mail.recipient,
        bcc: [],
        date: new Date('2025-06-02T10:00:00Z'),
        messageId: `<composed.${number}@example.com>`,
        baseBoundary: `fixed-${number}`,
        newline: 'windows',
        ...content(mail.compose)
    };
}

function content(kind) {
    switch (kind) {
        case 'text':
            return { subject: 'Grüße aus Köln 📮', text: 'Grüße, 日本.\n.\n..dots\n\nend\n' };
        case 'alternatives':
            return {
                subject: 'Two ways to read it',
                text: `${'long '.repeat(300)}\n`,
                html: `<p>Größe</p>\n<!-- ${'x'.repeat(900)} -->\n`,
                headers: { 'List-Id': 'News <news.example.com>' }
            };
        case 'attachment':
            return {
                subject: 'A picture',
                text: 'See below.\n',
                attachments: [{ filename: 'grüße.bin', content: Buffer.alloc(3_000_000, 'Grüße\0\r\n.\r\n') }]
            };
        default:
            throw new Error(`nothing to compose is called ${kind}`);
    }
}

for (const [number, mail] of job.mails.entries()) {
    if (mail.compose === undefined) {
        await transport.sendMail({ envelope: mail.envelope, raw: readFileSync(mail.raw) });
    } else {
        const made = await paper.sendMail(composed(mail, number));
        writeFileSync(mail.saved, made.message);
        await transport.sendMail(composed(mail, number));
    }
}
transport.close();
