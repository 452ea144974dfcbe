#include "lib/cli/mounts.h"

#include <string.h>

#include "lib/cli/output.h"

void mount_add_string(struct buf *out, const char *s)
{
	buf_addc(out, '"');
	for (; *s; s++) {
		if (*s == '"')
			buf_addc(out, '\\');
		buf_addc(out, *s);
	}
	buf_addc(out, '"');
}

void mount_add_lighttpd(struct buf *out, const char *prefix, const char *program,
                        const char *config, const char *socket)
{
	const struct { const char *before, *value, *behind; } lines[] = {
		{ "\t\"bin-path\" => ", program, ",\n" },
		{ "\t\"bin-environment\" => ( \"NTRVSTA_CONF\" => ", config, " ),\n" },
		{ "\t\"socket\" => ", socket, ",\n" },
	};
	size_t i;

	mount_add_string(out, prefix);
	buf_adds(out, " => ((\n");
	for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		buf_adds(out, lines[i].before);
		mount_add_string(out, lines[i].value);
		buf_adds(out, lines[i].behind);
	}
	/* One process serves them all, and its URLs are no files below the document root. */
	buf_adds(out, "\t\"max-procs\" => 1,\n\t\"check-local\" => \"disable\",\n");
	buf_adds(out, strcmp(prefix, "/") == 0 ? "\t\"fix-root-scriptname\" => \"enable\",\n))" : "))");
}

static void write_lighttpd(struct buf *out, const struct mount_paths *p)
{
	struct buf socket = BUF_INIT;

	buf_addf(&socket, "%s/fcgi.sock", p->state_dir);
	if (socket.len > MOUNT_SOCKET_MAX) {
		buf_reset(&socket);
		buf_adds(&socket, "/run/lighttpd/ntrvsta-fcgi.sock");
	}
	if (p->program[strcspn(p->program, " \t")])
		buf_adds(out, "# lighttpd cuts bin-path at blanks: make a link without any, and name that.\n");
	buf_adds(out, "server.modules += ( \"mod_fastcgi\" )\nfastcgi.server += ( ");
	mount_add_lighttpd(out, "/webhooks", p->program, p->config, socket.data);
	buf_adds(out, " )\n");
	buf_free(&socket);
}

static void write_apache(struct buf *out, const struct mount_paths *p)
{
	struct buf setting = BUF_INIT;

	buf_adds(out, "ScriptAlias /webhooks ");
	mount_add_string(out, p->program);
	buf_adds(out, "\n<Location /webhooks>\n"
	              "\tSetHandler fcgid-script\n"
	              "\tOptions +ExecCGI\n"
	              "\tRequire all granted\n"
	              "</Location>\n"
	              "FcgidCmdOptions ");
	mount_add_string(out, p->program);
	buf_addf(&setting, "NTRVSTA_CONF=%s", p->config);
	buf_adds(out, " InitialEnv ");
	mount_add_string(out, setting.data);
	buf_adds(out, "\nFcgidMaxRequestLen 16777216\n");
	buf_free(&setting);
}

/* nginx starts no programs: spawn-fcgi (or systemd) does. */
static void write_nginx(struct buf *out, const struct mount_paths *p)
{
	buf_adds(out, "# once, and whenever the machine starts (nginx starts no programs):\n#   env NTRVSTA_CONF=");
	cli_add_quoted(out, p->config);
	buf_adds(out, " spawn-fcgi -s /run/ntrvsta-fcgi.sock -M 0660 \\\n#       -u www-data -g www-data -- ");
	cli_add_quoted(out, p->program);
	buf_adds(out, "\nlocation /webhooks/ {\n"
	              "\tinclude fastcgi_params;\n"
	              "\tfastcgi_pass unix:/run/ntrvsta-fcgi.sock;\n"
	              "\tclient_max_body_size 1m;\n"
	              "}\n");
}

const struct mount mounts[] = {
	{ "lighttpd", "/etc/lighttpd/conf-available/50-ntrvsta.conf; then: lighty-enable-mod ntrvsta", write_lighttpd },
	{ "Apache", "/etc/apache2/conf-available/ntrvsta.conf; then: a2enmod fcgid && a2enconf ntrvsta", write_apache },
	{ "nginx", "a server block of nginx.conf", write_nginx },
};
const size_t nmounts = sizeof mounts / sizeof mounts[0];
