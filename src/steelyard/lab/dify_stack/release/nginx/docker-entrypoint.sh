#!/bin/sh
# simulated Dify: fills the templates as the official entrypoint does, and runs nginx
set -e
mkdir -p /etc/nginx/conf.d
fill() {
    sed -e "s|\${NGINX_SERVER_NAME}|$NGINX_SERVER_NAME|g" -e "s|\${NGINX_CLIENT_MAX_BODY_SIZE}|$NGINX_CLIENT_MAX_BODY_SIZE|g" \
        -e "s|\${NGINX_PROXY_READ_TIMEOUT}|$NGINX_PROXY_READ_TIMEOUT|g" -e "s|\${NGINX_SSL_CERT_FILENAME}|$NGINX_SSL_CERT_FILENAME|g" \
        -e "s|\${NGINX_SSL_CERT_KEY_FILENAME}|$NGINX_SSL_CERT_KEY_FILENAME|g" "$1"
}
fill /etc/nginx/nginx.conf.template > /etc/nginx/nginx.conf
fill /etc/nginx/conf.d.templates/default.conf.template > /etc/nginx/conf.d/default.conf
if test "$NGINX_HTTPS_ENABLED" = true; then
    fill /etc/nginx/conf.d.templates/https.conf.template >> /etc/nginx/conf.d/default.conf
fi
exec nginx -g 'daemon off;'
