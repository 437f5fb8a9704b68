#!/bin/sh
# simulated Dify: fills the templates as the official entrypoint does, and runs nginx
set -e
mkdir -p /etc/nginx/conf.d
fill() {
    sed -e "s|\${NGINX_PORT}|$NGINX_PORT|g" -e "s|\${NGINX_SERVER_NAME}|$NGINX_SERVER_NAME|g" \
        -e "s|\${NGINX_CLIENT_MAX_BODY_SIZE}|$NGINX_CLIENT_MAX_BODY_SIZE|g" \
        -e "s|\${NGINX_PROXY_READ_TIMEOUT}|$NGINX_PROXY_READ_TIMEOUT|g" \
        -e "s|\${NGINX_SOCKET_IO_UPSTREAM}|$NGINX_SOCKET_IO_UPSTREAM|g" \
        -e "s|\${NGINX_SSL_CERT_FILENAME}|$NGINX_SSL_CERT_FILENAME|g" \
        -e "s|\${NGINX_SSL_CERT_KEY_FILENAME}|$NGINX_SSL_CERT_KEY_FILENAME|g" "$1"
}
: > /tmp/https.conf
if test "$NGINX_HTTPS_ENABLED" = true; then
    fill /etc/nginx/https.conf.template > /tmp/https.conf
fi
fill /etc/nginx/nginx.conf.template > /etc/nginx/nginx.conf
fill /etc/nginx/proxy.conf.template > /etc/nginx/proxy.conf
fill /etc/nginx/conf.d.templates/default.conf.template |
    sed -e '/\${HTTPS_CONFIG}/{' -e 'r /tmp/https.conf' -e 'd' -e '}' > /etc/nginx/conf.d/default.conf
exec nginx -g 'daemon off;'
