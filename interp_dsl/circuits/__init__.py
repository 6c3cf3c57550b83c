"""Circuits: …"""
